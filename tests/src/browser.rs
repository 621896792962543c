//! Headless Chromium, driven as a person would: open a page, wait for what it shows, click, take a picture.
//!
//! Spoken to through its debugging pipe (Chrome DevTools Protocol, one JSON object ended by a NUL each way), so no driver has to be
//! installed and no port is opened. Time is real: a page with an open event stream never ends loading under Chromium's virtual time.

use crate::process::{Folder, Process};
use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// How long one command of the protocol may take.
const ANSWER: Duration = Duration::from_secs(60);
/// Messages read and not yet looked at; the reader waits beyond it.
const UNREAD: usize = 1024;

/// One tab of a browser of its own; the browser is killed when this is dropped.
#[derive(Debug)]
pub struct Page {
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    process: Process,
    _profile: Folder,
}

impl Page {
    /// Starts a browser with a window of `size` pixels and opens `url`.
    ///
    /// # Errors
    /// When the browser is missing, does not start, or cannot open the page.
    pub fn open(url: &str, size: (u32, u32)) -> Result<Self> {
        let profile = Folder::new("chromium")?;
        // The protocol's pipe is descriptors 3 and 4 of the browser.
        let mut command = Command::new("sh");
        command.args([
            "-c",
            r#"exec 3<&0 4>&1 >&2; exec "$@""#,
            "sh",
            "chromium",
            "--headless",
            "--remote-debugging-pipe",
        ]);
        command.args([
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--hide-scrollbars",
        ]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        crate::process::which("chromium".as_ref()).ok_or_else(|| crate::process::missing("chromium"))?;
        let log = profile.path().join("chromium.log");
        let (process, to, out) = Process::spawn_piped("chromium", &command, &log)?;
        let (send, from) = sync_channel(UNREAD);
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0) {
                let Ok(message) = message else { return };
                let Ok(message) = serde_json::from_slice::<Value>(&message) else { continue };
                // Events are not waited for by anybody.
                if message.get("id").is_some() && send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut page = Self { to, from, session: None, last_id: 0, process, _profile: profile };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}))?;
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = page.call("Target.attachToTarget", target)?;
        page.session = session["sessionId"].as_str().map(str::to_owned);
        page.resize(size)?;
        let opened = page.call("Page.navigate", json!({"url": url}))?;
        match opened.get("errorText") {
            Some(error) => bail!("{url}: {error}"),
            None => Ok(page),
        }
    }

    /// Gives the window another size in pixels.
    ///
    /// # Errors
    /// When the browser is gone.
    pub fn resize(&mut self, (width, height): (u32, u32)) -> Result<()> {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics).map(drop)
    }

    /// The value of a JavaScript expression in the page; promises are awaited.
    ///
    /// # Errors
    /// When it throws, with what it threw.
    pub fn eval(&mut self, expression: &str) -> Result<Value> {
        let ask = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", ask)?;
        match answer.get("exceptionDetails") {
            Some(thrown) => bail!("{expression}: {}", thrown["exception"]["description"]),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until a JavaScript expression is true.
    ///
    /// # Panics
    /// When it is not after a generous time; with the text that the page shows then.
    #[track_caller]
    pub fn wait_until(&mut self, expression: &str) {
        let ask = format!("Boolean({expression})");
        // While a page is being loaded its objects do not exist yet: an error is "not yet".
        let mut met = || matches!(self.eval(&ask), Ok(Value::Bool(true))).then_some(());
        if let Ok(Some(())) = crate::poll(crate::START_TIMEOUT, || Ok::<_, std::convert::Infallible>(met())) {
            return;
        }
        panic!(
            "the page never had {expression}; it shows:\n{}",
            self.text().unwrap_or_else(|e| e.to_string())
        );
    }

    /// Clicks the first element that a CSS selector names, where it stands on the screen.
    ///
    /// # Errors
    /// When there is no such element.
    pub fn click(&mut self, selector: &str) -> Result<()> {
        let quoted = Value::from(selector);
        let place = format!(
            "(() => {{ const e = document.querySelector({quoted}); e.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        let place = self.eval(&place).with_context(|| format!("no {selector} to click on"))?;
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event)?;
        }
        Ok(())
    }

    /// The text that the page shows.
    ///
    /// # Errors
    /// When the browser is gone.
    pub fn text(&mut self) -> Result<String> {
        Ok(self.eval("document.body.innerText")?.as_str().unwrap_or_default().to_owned())
    }

    /// Writes a picture (PNG) of the window.
    ///
    /// # Errors
    /// When the browser is gone or the file cannot be written.
    pub fn screenshot(&mut self, file: &Path) -> Result<()> {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}))?;
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap_or_default())?;
        std::fs::write(file, bytes).with_context(|| format!("{}: the picture", file.display()))
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.clone().into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.to.write_all(&bytes).and_then(|()| self.to.flush()).with_context(|| self.gone(method))?;
        loop {
            let answer = self.from.recv_timeout(ANSWER).with_context(|| self.gone(method))?;
            if answer["id"] == self.last_id {
                let error = answer.get("error").map(|e| anyhow!("{method}: {e}"));
                return error.map_or_else(|| Ok(answer["result"].clone()), Err);
            }
        }
    }

    fn gone(&self, method: &str) -> String {
        format!("chromium did not answer {method}\n{}", self.process.log_tail())
    }
}
