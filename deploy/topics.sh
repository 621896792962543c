#!/usr/bin/env bash
# Makes firedamp's Kafka topics: deploy/topics.sh BROKERS [TOPIC] [PARTITIONS] [REPLICAS]. The number of partitions is fixed then.
set -euo pipefail
brokers=${1:?usage: topics.sh BROKERS [TOPIC] [PARTITIONS] [REPLICAS]}
topic=${2:-firedamp} partitions=${3:-8} replicas=${4:-3}
for name in "$topic" "$topic.transitions"; do
  kafka-topics.sh --bootstrap-server "$brokers" --create --if-not-exists --topic "$name" \
    --partitions "$partitions" --replication-factor "$replicas" \
    --config message.timestamp.type=LogAppendTime --config max.message.bytes=17000000 \
    --config min.insync.replicas=$(( replicas > 1 ? 2 : 1 )) --config retention.ms=604800000
done
