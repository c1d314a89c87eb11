// Writes the lines of a file to Kafka with KafkaJS: topic, key and value, separated by tabs.
const { readFileSync } = require("node:fs");

const [module_, bootstrap, file] = process.argv.slice(2);
const { Kafka, logLevel } = require(module_);

(async () => {
  const producer = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR }).producer();
  await producer.connect();
  for (const line of readFileSync(file, "utf8").split("\n").filter(Boolean)) {
    const [topic, key, value] = line.split("\t");
    await producer.send({ topic, messages: [{ key, value }] });
  }
  await producer.disconnect();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
