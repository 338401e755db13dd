//! One ledger, a few gateways that claim whatever they may, and a network that loses, repeats, delays and reorders what they
//! say. Gateways crash, and come back as other runs. Whatever happens, never are more requests than the limit admitted within
//! any 60 seconds, by their true times, and never do more than the limit run.

use super::*;

const WINDOW_MS: u64 = 60_000;

/// What happens next. Gateways and messages are meant modulo how many there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pass { millis: u64 },
    Ask { gateway: usize, keep: u32, need: u32, wish: u32, rests: bool },
    Admit { gateway: usize, count: u32 },
    End { gateway: usize },
    Crash { gateway: usize },
    ToLedger { which: usize, fate: Fate },
    ToGateway { which: usize, fate: Fate },
}

/// What a network does to a message.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Delivered,
    DeliveredAndLeftThere,
    Lost,
}

fn step() -> impl Strategy<Value = Step> {
    let gateway = 0..4_usize;
    let fate = prop_oneof![6 => Just(Fate::Delivered), 2 => Just(Fate::DeliveredAndLeftThere), 1 => Just(Fate::Lost)];
    let message = || (0..32_usize, fate.clone());
    let some = || 0..8_u32;
    prop_oneof![
        2 => (0..1_500_u64).prop_map(|millis| Step::Pass { millis }),
        1 => prop_oneof![1_000..12_000_u64, Just(60_000)].prop_map(|millis| Step::Pass { millis }),
        5 => (gateway.clone(), some(), some(), some(), prop::bool::weighted(0.2)).prop_map(
            |(gateway, keep, need, wish, rests)| Step::Ask { gateway, keep, need, wish, rests }
        ),
        6 => (gateway.clone(), 1..6_u32).prop_map(|(gateway, count)| Step::Admit { gateway, count }),
        3 => gateway.clone().prop_map(|gateway| Step::End { gateway }),
        1 => gateway.prop_map(|gateway| Step::Crash { gateway }),
        7 => message().prop_map(|(which, fate)| Step::ToLedger { which, fate }),
        7 => message().prop_map(|(which, fate)| Step::ToGateway { which, fate }),
    ]
}

#[derive(Debug, Default)]
struct Gateway {
    run: u128,
    seq: u64,
    /// When the message that waits for its answer was sent, and whether it said that nothing is admitted until then.
    asked: Option<(u64, bool)>,
    per_minute: u32,
    at_once: u32,
    valid_until: u64,
    /// When its requests were admitted, those of this run within the last minute.
    admitted: Vec<u64>,
    /// When its running requests were: none runs for more than a minute.
    running: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    gateway: usize,
    run: u128,
    request: ShareRequest,
}

#[derive(Debug)]
struct World {
    limits: RequestLimits,
    now: u64,
    shares: RequestShares,
    gateways: Vec<Gateway>,
    to_ledger: Vec<Message>,
    to_gateways: Vec<(usize, u128, ShareGrant)>,
    /// When requests were admitted anywhere.
    admitted: Vec<u64>,
    runs: u128,
}

impl World {
    fn new(gateways: usize, limits: RequestLimits) -> Self {
        let fresh = |number| Gateway { run: number, ..Gateway::default() };
        Self {
            limits,
            now: 0,
            shares: RequestShares::default(),
            gateways: (1..=gateways as u128).map(fresh).collect(),
            to_ledger: vec![],
            to_gateways: vec![],
            admitted: vec![],
            runs: gateways as u128,
        }
    }

    fn step(&mut self, step: Step) {
        let count = self.gateways.len();
        match step {
            Step::Pass { millis } => self.pass(millis),
            Step::Ask { gateway, keep, need, wish, rests } => self.ask(gateway % count, keep, need, wish, rests),
            Step::Admit { gateway, count: requests } => {
                for _ in 0..requests {
                    self.admit(gateway % count);
                }
            }
            Step::End { gateway } => drop(self.gateways[gateway % count].running.pop()),
            Step::Crash { gateway } => {
                self.runs += 1;
                self.gateways[gateway % count] = Gateway { run: self.runs, ..Gateway::default() };
            }
            Step::ToLedger { which, fate } => {
                if let Some(message) = pass(&mut self.to_ledger, which, fate) {
                    self.hear(&message);
                }
            }
            Step::ToGateway { which, fate } => {
                if let Some((gateway, run, grant)) = pass(&mut self.to_gateways, which, fate) {
                    self.gateways[gateway].hear(run, &grant);
                }
            }
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis;
        for gateway in &mut self.gateways {
            gateway.admitted.retain(|at| at + WINDOW_MS > self.now);
            gateway.running.retain(|at| at + WINDOW_MS > self.now);
        }
        self.admitted.retain(|at| at + WINDOW_MS > self.now);
    }

    fn ask(&mut self, number: usize, keep: u32, need: u32, wish: u32, rests: bool) {
        let (now, limits) = (self.now, self.limits);
        let gateway = &mut self.gateways[number];
        let (used, running) = (count(gateway.admitted.len()), count(gateway.running.len()));
        let rests = rests && running == 0;
        let is_valid = now < gateway.valid_until;
        let kept = |most: u32, used: u32| if rests || !is_valid { used } else { most.min(used + keep) };
        gateway.per_minute = kept(gateway.per_minute, used);
        gateway.at_once = kept(gateway.at_once, running);
        gateway.seq += 1;
        gateway.asked = Some((now, rests));
        let claim = |keep: u32, used: u32| ShareClaim {
            keep,
            need: if rests { used } else { used + need },
            wish: if rests { used } else { used + wish },
        };
        let mut leaving = Leaving::NONE;
        for at in &gateway.admitted {
            leaving.add(at + WINDOW_MS - now, 1);
        }
        let request = ShareRequest {
            seq: gateway.seq,
            limits,
            per_minute: claim(gateway.per_minute, used),
            at_once: claim(gateway.at_once, running),
            leaving,
            rests,
        };
        self.to_ledger.push(Message { gateway: number, run: gateway.run, request });
    }

    fn hear(&mut self, message: &Message) {
        let now = at(self.now.cast_signed());
        let gateway_id = GatewayId(Uuid::from_u128(message.gateway as u128));
        if let Some(grant) = self.shares.renew(now, gateway_id, RunId(Uuid::from_u128(message.run)), &message.request) {
            self.to_gateways.push((message.gateway, message.run, grant));
        }
    }

    fn admit(&mut self, number: usize) {
        let gateway = &mut self.gateways[number];
        let rests = gateway.asked.is_some_and(|(_, rests)| rests);
        let room = count(gateway.admitted.len()) < gateway.per_minute && count(gateway.running.len()) < gateway.at_once;
        if rests || !room || self.now >= gateway.valid_until {
            return;
        }
        gateway.admitted.push(self.now);
        gateway.running.push(self.now);
        self.admitted.push(self.now);
        let running: usize = self.gateways.iter().map(|gateway| gateway.running.len()).sum();
        assert!(count(self.admitted.len()) <= self.limits.per_minute, "too many within a minute: {self:?}");
        assert!(count(running) <= self.limits.at_once, "too many at once: {self:?}");
    }

    /// All is quiet for as long as it takes: a gateway that nobody has heard of gets all of both limits.
    fn end(mut self) {
        self.to_ledger.clear();
        self.pass(millis(VALID + WINDOW));
        let all = |limit: u32| claim(0, limit, limit);
        let (per_minute, at_once) = (all(self.limits.per_minute), all(self.limits.at_once));
        let request = ShareRequest { limits: self.limits, at_once, ..asks(1, per_minute) };
        let granted = renew(&mut self.shares, self.now.cast_signed(), 1_000, &request);
        assert_eq!((granted.per_minute.most, granted.at_once.most), (self.limits.per_minute, self.limits.at_once));
        assert_eq!(self.shares.runs.len(), 1, "left over");
    }
}

impl Gateway {
    fn hear(&mut self, run: u128, grant: &ShareGrant) {
        let Some((sent, rests)) = self.asked.filter(|_| run == self.run && grant.seq == self.seq) else { return };
        if rests {
            return;
        }
        self.asked = None;
        self.per_minute = grant.per_minute.most;
        self.at_once = grant.at_once.most;
        self.valid_until = sent + grant.valid_ms;
    }
}

fn count(requests: usize) -> u32 {
    u32::try_from(requests).unwrap()
}

/// Takes a message off the network.
fn pass<T: Copy>(network: &mut Vec<T>, which: usize, fate: Fate) -> Option<T> {
    let at = which.checked_rem(network.len())?;
    match fate {
        Fate::Delivered => Some(network.remove(at)),
        Fate::DeliveredAndLeftThere => Some(network[at]),
        Fate::Lost => {
            network.remove(at);
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_gateways_together_keep_to_the_limits(
        gateways in 1..5_usize, per_minute in 0..12_u32, at_once in 0..6_u32, steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut world = World::new(gateways, RequestLimits { per_minute, at_once });
        for step in steps {
            world.step(step);
        }
        world.end();
    }
}
