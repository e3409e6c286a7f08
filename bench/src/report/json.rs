//! One run as JSON. Times are in µs, sizes in bytes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::histogram::Histogram;
use crate::machine::Disturbance;
use crate::process::Cpu;
use crate::scenario::{Besieged, Joins, Outcome};
use crate::streams::Streams;
use crate::traffic::Traffic;

pub(super) fn outcome(outcome: &Outcome) -> Value {
    let errors: BTreeMap<_, _> = outcome.errors.named().into_iter().collect();
    json!({
        "errors": errors,
        "firstTrouble": outcome.first_trouble,
        "joins": joins(&outcome.joins),
        "traffic": outcome.traffic.as_ref().map(traffic),
        "siege": outcome.siege.as_ref().map(|siege| besieged(siege, outcome.traffic.as_ref())),
        "streams": outcome.streams.as_ref().map(streams),
    })
}

pub(super) fn merged(mut into: Value, more: Value) -> Value {
    if let (Value::Object(into), Value::Object(more)) = (&mut into, more) {
        into.extend(more);
    }
    into
}

fn traffic(traffic: &Traffic) -> Value {
    json!({
        "messages": traffic.messages,
        "deliveries": traffic.deliveries,
        "elapsedMs": traffic.elapsed.as_millis() as u64,
        "deliveriesPerSec": traffic.deliveries as f64 / traffic.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
        "disturbance": disturbance(traffic.disturbance),
        "cpu": traffic.cpu.map(cpu),
        "cpuUsPerDelivery": each(traffic.cpu, traffic.deliveries),
        "generatorCpu": cpu(traffic.generator_cpu),
        "generatorCpuUsPerDelivery": us(traffic.generator_cpu.scheduled_ns) / traffic.deliveries.max(1) as f64,
        "latencyUs": quantiles(&traffic.latency),
        "lastMemberUs": quantiles(&traffic.last_member),
        "ackLatencyUs": quantiles(&traffic.ack_latency),
        "sendLagUs": quantiles(&traffic.send_lag),
    })
}

fn joins(joins: &Joins) -> Value {
    let connections = u64::from(joins.connections);
    json!({
        "connections": connections,
        "elapsedMs": joins.elapsed.as_millis() as u64,
        "perSec": connections as f64 / joins.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
        "disturbance": disturbance(joins.disturbance),
        "cpu": joins.cpu.map(cpu),
        "cpuUsEach": each(joins.cpu, connections),
        "generatorCpuUsEach": us(joins.generator_cpu.scheduled_ns) / connections.max(1) as f64,
        "timeUs": quantiles(&joins.time),
        "residentBytesEach": joins.resident_bytes.map(|bytes| bytes as f64 / connections.max(1) as f64),
    })
}

fn besieged(siege: &Besieged, during: Option<&Traffic>) -> Value {
    let p99 = |traffic: &Traffic| traffic.latency.quantile(990) as f64;
    let hostile: Vec<Value> = siege
        .tallies
        .iter()
        .map(|tally| {
            let kind = format!("{:?}", tally.kind).to_lowercase();
            json!({"kind": kind, "clients": tally.clients, "bytes": tally.bytes, "cuts": tally.cuts})
        })
        .collect();
    json!({
        "calm": traffic(&siege.calm),
        "p99Ratio": during.map(|during| p99(during) / p99(&siege.calm).max(1.0)),
        "hostile": hostile,
        "cuts": siege.tallies.iter().map(|tally| tally.cuts).sum::<u64>(),
    })
}

fn streams(streams: &Streams) -> Value {
    let heard = &streams.heard;
    json!({
        "readers": streams.readers,
        "tokensPerSecEach": streams.tokens_per_sec,
        "tokens": heard.tokens,
        "frames": heard.frames,
        "tokensPerFrame": heard.tokens as f64 / heard.frames.max(1) as f64,
        "elapsedMs": streams.elapsed.as_millis() as u64,
        "tokensPerSec": heard.tokens as f64 / streams.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
        "disturbance": disturbance(streams.disturbance),
        "cpu": streams.cpu.map(cpu),
        "cpuUsPerToken": each(streams.cpu, heard.tokens),
        "generatorCpu": cpu(streams.generator_cpu),
        "generatorCpuUsPerToken": us(streams.generator_cpu.scheduled_ns) / heard.tokens.max(1) as f64,
        "addedUs": quantiles(&heard.added),
        "leadingUs": quantiles(&heard.leading),
        "beyondRollUpUs": quantiles(&heard.beyond),
        "freeUs": quantiles(&heard.free),
        "writeLagUs": quantiles(&streams.write_lag),
    })
}

fn each(cpu: Option<Cpu>, count: u64) -> Option<f64> {
    cpu.filter(|_| count > 0).map(|cpu| cpu.ticks_us as f64 / count as f64)
}

fn disturbance(disturbance: Option<Disturbance>) -> Value {
    disturbance.map_or(
        Value::Null,
        |d| json!({"othersPercent": d.others_percent, "stolenPercent": d.stolen_percent}),
    )
}

fn cpu(cpu: Cpu) -> Value {
    json!({"ticksUs": cpu.ticks_us, "scheduledUs": us(cpu.scheduled_ns)})
}

/// Nothing, rather than zeros, where nothing was counted.
fn quantiles(histogram: &Histogram) -> Value {
    if histogram.count() == 0 {
        return Value::Null;
    }
    let at = |per_mille| us(histogram.quantile(per_mille));
    json!({
        "count": histogram.count(),
        "p10": at(100), "p50": at(500), "p90": at(900), "p95": at(950), "p99": at(990), "p999": at(999),
        "max": us(histogram.highest()),
    })
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1000.0
}
