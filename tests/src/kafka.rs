//! Apache Kafka in KRaft mode from its published Java artifacts: one broker, or several that also vote.

use crate::cache;
use crate::process::{Folder, Process, run};
use crate::{START_TIMEOUT, free_port, listens};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

const VERSION: &str = "4.3.0";

/// A running cluster.
#[derive(Debug)]
pub struct Kafka {
    /// `host:port` of all brokers.
    pub bootstrap: String,
    lib: PathBuf,
    brokers: Vec<Broker>,
    folder: Folder,
}

#[derive(Debug)]
struct Broker {
    port: u16,
    config: PathBuf,
    process: Option<Process>,
}

/// How a cluster is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    /// By anybody.
    None,
    /// By [`USER`] with [`PASSWORD`], SASL PLAIN.
    Password,
    /// By the same user, SCRAM-SHA-512 inside TLS, who also shows [`Kafka::certificate`]; [`Kafka::ca`] has signed the
    /// brokers' own.
    ScramInTls,
}

/// The user that a secured cluster lets in.
pub const USER: &str = "firedamp";
/// The password of [`USER`].
pub const PASSWORD: &str = "cage-and-canary";

/// As whom the brokers of a secured cluster speak to each other.
const BROKER: (&str, &str) = ("broker", "inside");

/// Starts so many brokers that anybody may speak to; with three, topics are replicated thrice and `min.insync.replicas` is 2.
#[track_caller]
pub fn start(brokers: usize) -> Kafka {
    try_start(brokers, Security::None).unwrap_or_else(|e| panic!("Kafka: {e:#}"))
}

/// Starts one broker that is spoken to like this.
#[track_caller]
pub fn start_secured(security: Security) -> Kafka {
    try_start(1, security).unwrap_or_else(|e| panic!("Kafka: {e:#}"))
}

fn try_start(count: usize, security: Security) -> Result<Kafka> {
    let lib = cache::ready(&format!("kafka-{VERSION}"), &["kafka"])?.join("lib");
    let folder = Folder::new("kafka")?;
    let ports: Vec<(u16, u16)> = (0..count).map(|_| (free_port(), free_port())).collect();
    let voters: Vec<String> =
        ports.iter().enumerate().map(|(i, (_, c))| format!("{}@127.0.0.1:{c}", i + 1)).collect();
    let java = |class: &str| {
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-cp", &format!("{}/*", lib.display()), class]);
        command
    };
    let id = run("StorageTool", java("kafka.tools.StorageTool").arg("random-uuid"))?;
    let id = id.lines().last().context("no id")?.trim().to_owned();
    let mut brokers = Vec::new();
    for (i, (port, controller)) in ports.iter().enumerate() {
        let config = folder.path().join(format!("{i}.properties"));
        let data = folder.path().join(format!("data{i}"));
        let plain = properties(i + 1, *port, *controller, &voters.join(","), &data, count);
        std::fs::write(&config, plain + &secured(security, folder.path())?)?;
        let mut format = java("kafka.tools.StorageTool");
        format.args(["format", "-t", &id, "-c"]).arg(&config);
        if security == Security::ScramInTls {
            // They are records of the cluster, which lets nobody in to write them before they are there.
            for (name, password) in [BROKER, (USER, PASSWORD)] {
                format.args(["--add-scram", &format!("SCRAM-SHA-512=[name={name},password={password}]")]);
            }
        }
        run("StorageTool", &format)?;
        brokers.push(Broker { port: *port, config, process: None });
    }
    let bootstrap = ports.iter().map(|(p, _)| format!("127.0.0.1:{p}")).collect::<Vec<_>>().join(",");
    let mut kafka = Kafka { bootstrap, lib, brokers, folder };
    for i in 0..count {
        kafka.launch(i)?;
    }
    for i in 0..count {
        kafka.until_ready(i)?;
    }
    Ok(kafka)
}

fn properties(id: usize, port: u16, controller: u16, voters: &str, data: &Path, count: usize) -> String {
    let (replicas, in_sync) = if count >= 3 { (3, 2) } else { (1, 1) };
    format!(
        "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
         log.dirs={}\n\
         auto.create.topics.enable=false\noffsets.topic.replication.factor={replicas}\noffsets.topic.num.partitions=1\n\
         default.replication.factor={replicas}\nmin.insync.replicas={in_sync}\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n",
        data.display()
    )
}

/// The part of a broker's properties that says who may speak to its listener named `PLAINTEXT`, and the files it names.
fn secured(security: Security, folder: &Path) -> Result<String> {
    let (protocol, mechanism) = match security {
        Security::None => ("PLAINTEXT", None),
        Security::Password => ("SASL_PLAINTEXT", Some(("PLAIN", "plain.PlainLoginModule"))),
        Security::ScramInTls => ("SASL_SSL", Some(("SCRAM-SHA-512", "scram.ScramLoginModule"))),
    };
    let mut out = format!("listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:{protocol}\n");
    if let Some((mechanism, module)) = mechanism {
        let (name, password) = BROKER;
        let users = match security {
            Security::Password => format!(" user_{name}=\"{password}\" user_{USER}=\"{PASSWORD}\""),
            _ => String::new(),
        };
        out += &format!(
            "sasl.enabled.mechanisms={mechanism}\nsasl.mechanism.inter.broker.protocol={mechanism}\n\
             listener.name.plaintext.{}.sasl.jaas.config=org.apache.kafka.common.security.{module} required \
             username=\"{name}\" password=\"{password}\"{users};\n",
            mechanism.to_lowercase()
        );
    }
    if security == Security::ScramInTls {
        out += &certificates(folder)?;
    }
    Ok(out)
}

/// Makes the certificates of brokers and clients, each its own authority; the properties that name them.
fn certificates(folder: &Path) -> Result<String> {
    let keytool = |store: &str, alias: &str, more: &[&str]| {
        let mut command = Command::new("keytool");
        command.args(more).args(["-alias", alias, "-storetype", "PKCS12", "-storepass", "changeit"]);
        run("keytool", command.current_dir(folder).args(["-keystore", store]))
    };
    // A broker speaks to itself before it starts, and must trust what it then meets.
    for (alias, store, pem) in [("broker", "broker.p12", "ca.pem"), ("client", "client.p12", "client.pem")] {
        let name = format!("CN={alias}");
        let pair =
            ["-genkeypair", "-keyalg", "EC", "-validity", "2", "-ext", "SAN=ip:127.0.0.1", "-dname", &name];
        keytool(store, alias, &pair)?;
        std::fs::write(folder.join(pem), keytool(store, alias, &["-exportcert", "-rfc"])?)?;
        keytool("trusted.p12", alias, &["-importcert", "-noprompt", "-file", pem])?;
    }
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-in", "client.p12", "-passin", "pass:changeit", "-nocerts", "-nodes"]);
    run("openssl", openssl.current_dir(folder).args(["-out", "client.key"]))?;
    // Without the listener's name, a listener with passwords would ask nobody for a certificate.
    let mut out = "listener.name.plaintext.ssl.client.auth=required\nssl.key.password=changeit\n".to_owned();
    for (kind, store) in [("key", "broker.p12"), ("trust", "trusted.p12")] {
        out += &format!("ssl.{kind}store.location={}\n", folder.join(store).display());
        out += &format!("ssl.{kind}store.type=PKCS12\nssl.{kind}store.password=changeit\n");
    }
    Ok(out)
}

impl Kafka {
    /// The certificate that clients of a cluster in TLS must trust.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The certificate that clients of a cluster in TLS must show, and its key.
    pub fn certificate(&self) -> (PathBuf, PathBuf) {
        (self.folder.path().join("client.pem"), self.folder.path().join("client.key"))
    }

    fn launch(&mut self, i: usize) -> Result<()> {
        let broker = &mut self.brokers[i];
        let mut command = Command::new("java");
        command
            .args(["-Xmx512m", "-cp", &format!("{}/*", self.lib.display()), "kafka.Kafka"])
            .arg(&broker.config);
        let log = broker.config.with_extension("log");
        broker.process = Some(Process::spawn(&format!("Kafka broker {i}"), &command, &log)?);
        Ok(())
    }

    fn until_ready(&self, i: usize) -> Result<()> {
        let broker = &self.brokers[i];
        let process = broker.process.as_ref().context("it is not started")?;
        process.until_ready(START_TIMEOUT, || listens(broker.port))
    }

    /// The process of a broker, for its id.
    pub fn process(&self, i: usize) -> Option<&Process> {
        self.brokers[i].process.as_ref()
    }

    /// `kill -9` of a broker.
    pub fn kill9(&mut self, i: usize) {
        if let Some(process) = self.brokers[i].process.take() {
            process.kill9();
        }
    }

    /// Starts a killed broker again.
    #[track_caller]
    pub fn start_again(&mut self, i: usize) {
        let started = self.launch(i).and_then(|()| self.until_ready(i));
        started.unwrap_or_else(|e| panic!("Kafka broker {i}, starting again: {e:#}"));
    }
}
