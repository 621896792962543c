//! Alarms in PostgreSQL by the built binary: raised, told and escalated while both the server and firedamp are killed on the way, and
//! handled and proven by the commands.

use crate::handled::{alarm, ran, read, told};
use crate::stand::*;
use tests::postgres::{self, PASSWORD};
use tests::webhook::Webhook;

const ROUTES: &str = "to = \"county\"\n[[escalate]]\nafter = \"3s\"\nto = \"city\"\n";

#[tokio::test]
async fn alarms_in_postgres_survive_both_servers_and_go_up_in_time() {
    let (mut server, webhook) = (postgres::start(), Webhook::start().await);
    let database = server.database().replace(":not%20a%20secret", "");
    let receivers = ["county", "city"].map(|name| {
        format!("[[receiver]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{}\"\n", webhook.url)
    });
    let alerts = format!(
        "[alerts]\ndatabase = \"{database}\"\npassword = {{ file = \"password\" }}\nroutes = \"routes.toml\"\n{}",
        receivers.concat()
    );
    let mut firedamp = prepare(&format!("{}{alerts}", pushed()));
    std::fs::write(firedamp.folder().join("password"), PASSWORD).unwrap();
    std::fs::write(firedamp.folder().join("routes.toml"), ROUTES).unwrap();
    firedamp.start().await;
    // Decided and in the log while the database is away: told once it is back.
    server.kill9();
    read(&firedamp, 1.2).await;
    firedamp.kill9();
    server.start_again();
    firedamp.start().await;
    let id = alarm(&firedamp, "state", "active").await["id"].as_str().unwrap().to_owned();
    let raised = told(&webhook, "raised", 1).await;
    assert_eq!(raised[0]["alarm"]["id"], *id);
    let escalated = told(&webhook, "escalated", 1).await;
    assert_eq!(
        (&escalated[0]["alarm"]["id"], &escalated[0]["unacknowledged_s"]),
        (&id.clone().into(), &3.into())
    );
    let shown = firedamp.run(&["alarms", "show", &id[..8]]).unwrap();
    assert!(shown.contains("not acknowledged for 3s"), "{shown}");
    firedamp.run(&["alarms", "ack", &id[..8]]).unwrap();
    firedamp.stop();
    let (code, said) = ran(firedamp.folder(), &["alarms", "verify"]);
    assert!(code == Some(0) && said.contains("each as it was written"), "{said}");
    let (code, said) = ran(firedamp.folder(), &["alarms", "list"]);
    assert!(code == Some(0) && said.contains("acknowledged"), "without firedamp: {said}");
    let name = database.rsplit('/').next().unwrap();
    server.sql(name, "UPDATE journal SET by = 'nobody' WHERE event = 'acknowledged'");
    let (code, said) = ran(firedamp.folder(), &["alarms", "verify"]);
    assert!(code == Some(1) && said.contains("(acknowledged,"), "{said}");
    server.kill9();
    let (code, said) = ran(firedamp.folder(), &["alarms", "list"]);
    assert!(code != Some(0) && said.contains("127.0.0.1") && !said.contains(PASSWORD), "{said}");
}
