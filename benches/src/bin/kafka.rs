//! The whole path through one real Kafka broker on the same cores: batches handed over at the sink, the collector's own log, the
//! forwarder, Kafka, rules, table. `kafka [POINTS SECONDS AHEAD]`: the generator is never more than AHEAD readings before what is
//! judged and stored, so what is reached is what goes through. Keeps `kafka.json`.

use benches::outside::Watched;
use benches::setup;
use benches::whole::{self, Whole};
use stream::{KafkaOptions, TopicOptions};

fn main() -> anyhow::Result<()> {
    let [points, seconds, ahead] =
        benches::arguments([("points", 1_040_000.0), ("seconds", 180.0), ("ahead", 2_000_000.0)]);
    benches::run(async move {
        let broker = tokio::task::spawn_blocking(|| ::tests::kafka::start(1)).await?;
        eprintln!("Kafka at {}", broker.bootstrap);
        let options = KafkaOptions {
            brokers: broker.bootstrap.clone(),
            topic: "bench".to_owned(),
            partitions: setup::PARTITIONS,
            ..KafkaOptions::default()
        };
        let one = TopicOptions { replication: 1, min_in_sync_replicas: 1, ..TopicOptions::default() };
        stream::create_topics(&options, &one).await?;
        let mut others = Watched::default();
        if let Some(process) = broker.process(0) {
            others.add("broker", process.pid());
        }
        let dir = tempfile::tempdir()?;
        let log = format!(
            "kind = \"kafka\"\nkafka = {{ brokers = [\"{}\"], topic = \"bench\" }}",
            broker.bootstrap
        );
        let (points, ahead) = (points as usize, Some(ahead as u64));
        let result = whole::run(dir.path(), Whole { points, seconds, rate: 0.0, log, ahead, others }).await?;
        benches::keep("kafka", &result)?;
        Ok(())
    })
}
