//! The log in Apache Kafka.
