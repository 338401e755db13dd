//! Gateways whose messages are lost, repeated and late, and that crash. Never are more than the limit admitted within any 60
//! seconds, by the true times, and never do more than the limit run.

use proptest::prelude::*;

use super::*;

/// What happens next. Gateways and messages are meant modulo how many there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pass {
        millis: u64,
    },
    Request {
        gateway: usize,
        count: u32,
    },
    End {
        gateway: usize,
    },
    Send {
        gateway: usize,
        closing: bool,
    },
    /// The ledger hears a message; where it is left there, it will hear it once more.
    Deliver {
        which: usize,
        left_there: bool,
    },
    Answer {
        which: usize,
    },
    /// No answer comes, or none that counts.
    GiveUp {
        gateway: usize,
    },
    Crash {
        gateway: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let gateway = 0..4_usize;
    let which = 0..16_usize;
    prop_oneof![
        3 => prop_oneof![0..300_u64, 300..3_000_u64].prop_map(|millis| Step::Pass { millis }),
        1 => prop_oneof![Just(11_000_u64), Just(60_000)].prop_map(|millis| Step::Pass { millis }),
        8 => (gateway.clone(), 1..8_u32).prop_map(|(gateway, count)| Step::Request { gateway, count }),
        6 => gateway.clone().prop_map(|gateway| Step::End { gateway }),
        6 => (gateway.clone(), prop::bool::weighted(0.1)).prop_map(|(gateway, closing)| Step::Send { gateway, closing }),
        6 => (which.clone(), prop::bool::weighted(0.2))
            .prop_map(|(which, left_there)| Step::Deliver { which, left_there }),
        6 => which.prop_map(|which| Step::Answer { which }),
        1 => gateway.clone().prop_map(|gateway| Step::GiveUp { gateway }),
        1 => gateway.prop_map(|gateway| Step::Crash { gateway }),
    ]
}

/// A message of a gateway's run.
#[derive(Clone, Copy)]
struct Sent {
    gateway: usize,
    run: usize,
    message: ShareRequest,
}

struct Network {
    world: World,
    /// The run of each gateway.
    runs: Vec<usize>,
    started: usize,
    /// Since when requests run at each gateway: none for longer than a minute.
    running: Vec<Vec<u64>>,
    to_ledger: Vec<Sent>,
    to_gateways: Vec<(Sent, Option<ShareGrant>)>,
    asked: Vec<Option<ShareRequest>>,
    /// When requests of the last minute were admitted anywhere.
    admitted: Vec<u64>,
}

impl Network {
    fn new(gateways: usize, limits: Limits) -> Self {
        Self {
            world: World::new(gateways, limits),
            runs: (0..gateways).collect(),
            started: gateways,
            running: vec![vec![]; gateways],
            to_ledger: vec![],
            to_gateways: vec![],
            asked: vec![None; gateways],
            admitted: vec![],
        }
    }

    fn step(&mut self, step: Step) {
        let count = self.runs.len();
        match step {
            Step::Pass { millis } => self.pass(millis),
            Step::Request { gateway, count: requests } => (0..requests).for_each(|_| self.request(gateway % count)),
            Step::End { gateway } => {
                if self.running[gateway % count].pop().is_some() {
                    self.world.gateways[gateway % count].ended();
                }
            }
            Step::Send { gateway, closing } => self.send(gateway % count, closing),
            Step::Deliver { which, left_there } => {
                let Some(at) = which.checked_rem(self.to_ledger.len()) else { return };
                let sent = if left_there { self.to_ledger[at] } else { self.to_ledger.remove(at) };
                let grant = self.world.hear(sent.run, &sent.message);
                self.to_gateways.push((sent, grant));
            }
            Step::Answer { which } => {
                let Some(at) = which.checked_rem(self.to_gateways.len()) else { return };
                let (Sent { gateway, run, message }, grant) = self.to_gateways.remove(at);
                if self.runs[gateway] == run {
                    self.asked[gateway].take_if(|asked| asked.seq == message.seq);
                    self.answer(gateway, &message, grant.as_ref());
                }
            }
            Step::GiveUp { gateway } => self.give_up(gateway % count),
            Step::Crash { gateway } => {
                let gateway = gateway % count;
                self.runs[gateway] = self.started;
                self.started += 1;
                self.world.gateways[gateway] = SharedLimiter::default();
                self.running[gateway].clear();
                self.asked[gateway] = None;
            }
        }
    }

    fn pass(&mut self, millis: u64) {
        self.world.now_ms += millis;
        let since = (self.world.now_ms + 1).saturating_sub(60_000);
        self.admitted.retain(|at| *at >= since);
        for (gateway, running) in self.running.iter_mut().enumerate() {
            let before = running.len();
            running.retain(|at| *at >= since);
            (running.len()..before).for_each(|_| self.world.gateways[gateway].ended());
        }
    }

    fn answer(&mut self, gateway: usize, message: &ShareRequest, grant: Option<&ShareGrant>) {
        let now = self.world.now();
        self.world.gateways[gateway].answered(now, message, grant);
    }

    fn give_up(&mut self, gateway: usize) {
        if let Some(message) = self.asked[gateway].take() {
            self.answer(gateway, &message, None);
        }
    }

    fn send(&mut self, gateway: usize, closing: bool) {
        self.give_up(gateway);
        let (now, limits) = (self.world.now(), self.world.limits);
        let message = self.world.gateways[gateway].message(now, limits, closing);
        self.asked[gateway] = Some(message);
        self.to_ledger.push(Sent { gateway, run: self.runs[gateway], message });
    }

    fn request(&mut self, gateway: usize) {
        let (now, limits) = (self.world.now(), self.world.limits);
        match self.world.gateways[gateway].admit(now, limits) {
            Ok(_) => {
                self.admitted.push(self.world.now_ms);
                self.running[gateway].push(self.world.now_ms);
                let running: usize = self.running.iter().map(Vec::len).sum();
                assert!(self.admitted.len() <= limits.per_minute as usize, "too many within a minute");
                assert!(running <= limits.in_flight as usize, "too many at once");
            }
            Err(NotAdmitted::NoShare) if self.asked[gateway].is_none() => {
                self.world.gateways[gateway].waits(true);
                self.send(gateway, false);
                self.world.gateways[gateway].waits(false);
            }
            Err(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_gateways_together_keep_to_the_limits(
        gateways in 1..5_usize,
        per_minute in 0..12_u32,
        in_flight in 0..6_u32,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut network = Network::new(gateways, Limits { per_minute, in_flight });
        for step in steps {
            network.step(step);
        }
    }
}
