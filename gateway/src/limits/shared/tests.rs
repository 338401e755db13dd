//! Gateways' limiters against the ledger's side of the protocol, as it is.

use accounting::request_shares::RequestShares;
use schemas::{GatewayId, RunId, Timestamp};
use uuid::Uuid;

use super::*;

mod simulation;

const LIMITS: Limits = Limits { per_minute: 10, in_flight: 4 };

/// A ledger, gateways, and a clock that all of them see.
struct World {
    began: Instant,
    now_ms: u64,
    limits: Limits,
    shares: RequestShares,
    gateways: Vec<SharedLimiter>,
    /// Messages that were sent.
    messages: u32,
}

impl World {
    fn new(gateways: usize, limits: Limits) -> Self {
        let gateways = (0..gateways).map(|_| SharedLimiter::default()).collect();
        Self { began: Instant::now(), now_ms: 0, limits, shares: RequestShares::default(), gateways, messages: 0 }
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_millis(self.now_ms)
    }

    /// What the ledger answers to a message of this gateway.
    fn hear(&mut self, gateway: usize, message: &ShareRequest) -> Option<ShareGrant> {
        let id = Uuid::from_u128(gateway as u128 + 1);
        let now = Timestamp::from_micros(i64::try_from(self.now_ms * 1_000).unwrap());
        self.shares.renew(now, GatewayId(id), RunId(id), message)
    }

    /// A message and its answer.
    fn ask(&mut self, gateway: usize, closing: bool) -> ShareRequest {
        let now = self.now();
        let message = self.gateways[gateway].message(now, self.limits, closing);
        let grant = self.hear(gateway, &message);
        self.gateways[gateway].answered(now, &message, grant.as_ref());
        self.messages += 1;
        message
    }

    /// A request at a gateway, as an account admits it.
    fn request(&mut self, gateway: usize) -> Result<(), TooMany> {
        let now = self.now();
        match self.gateways[gateway].admit(now, self.limits) {
            Ok(low) => {
                if low {
                    self.ask(gateway, false);
                }
                return Ok(());
            }
            Err(NotAdmitted::TooMany(refused) | NotAdmitted::Elsewhere(refused)) => return Err(refused),
            Err(NotAdmitted::NoShare) => {}
        }
        self.gateways[gateway].waits(true);
        self.ask(gateway, false);
        let admitted = self.gateways[gateway].admit(now, self.limits);
        self.gateways[gateway].waits(false);
        match admitted {
            Ok(_) => Ok(()),
            Err(NotAdmitted::TooMany(refused) | NotAdmitted::Elsewhere(refused)) => Err(refused),
            Err(NotAdmitted::NoShare) => panic!("neither admitted nor refused"),
        }
    }

    /// A request that is over at once.
    fn short_request(&mut self, gateway: usize) -> Result<(), TooMany> {
        let admitted = self.request(gateway);
        if admitted.is_ok() {
            self.gateways[gateway].ended();
        }
        admitted
    }

    /// Time goes by; gateways look after their shares as their keepers do.
    fn pass(&mut self, millis: u64) {
        let end = self.now_ms + millis;
        while self.now_ms < end {
            let next = (self.now_ms / 250 + 1) * 250;
            self.now_ms = next.min(end);
            if self.now_ms == next {
                let now = self.now();
                for gateway in 0..self.gateways.len() {
                    if self.gateways[gateway].is_due(now, Duration::from_secs(1)) {
                        self.ask(gateway, false);
                    }
                }
            }
        }
    }

    fn standing(&mut self, gateway: usize) -> (u32, u64) {
        let now = self.now();
        let standing = self.gateways[gateway].standing(now, self.limits);
        (standing.remaining, standing.reset_seconds)
    }
}

fn in_a_minute(retry_after_seconds: u64) -> Result<(), TooMany> {
    Err(TooMany::InAMinute { limit: LIMITS.per_minute, retry_after_seconds })
}

fn at_once() -> Result<(), TooMany> {
    Err(TooMany::AtOnce { limit: LIMITS.in_flight, retry_after_seconds: 1 })
}

#[test]
fn a_lone_gateway_has_all_of_the_limits_as_if_it_counted_alone() {
    let mut world = World::new(1, LIMITS);
    let mut alone = Limiter::default();
    // Bursts and pauses: what one limiter that asks nobody says is what this one says, and so are the headers.
    let gaps = [0, 0, 300, 700, 0, 2_000, 0, 40, 0, 0, 0, 500, 9_000, 0, 31_000, 0, 17_000, 0, 0, 60_000, 0, 1_000];
    for (number, gap) in gaps.into_iter().cycle().take(200).enumerate() {
        world.pass(gap);
        let now = world.now();
        let expected = alone.admit(now, LIMITS);
        assert_eq!(world.request(0), expected, "request {number} at {} ms", world.now_ms);
        if number % 3 > 0 {
            alone.ended();
            world.gateways[0].ended();
        }
        let standing = alone.standing(now, LIMITS);
        assert_eq!(world.standing(0), (standing.remaining, standing.reset_seconds), "after request {number}");
        if number % 40 == 39 {
            while alone.running > 0 {
                alone.ended();
                world.gateways[0].ended();
            }
        }
    }
}

#[test]
fn gateways_together_admit_the_limit_and_each_tells_how_long_to_wait() {
    let mut world = World::new(3, LIMITS);
    let mut admitted = [0; 3];
    for _ in 0..20 {
        for (gateway, admitted) in admitted.iter_mut().enumerate() {
            let left = (60_000 - world.now_ms).div_ceil(1_000);
            match world.short_request(gateway) {
                Ok(()) => *admitted += 1,
                // What others do not use comes back within a second; what they told of leaves at a full second from then.
                Err(TooMany::InAMinute { limit: 10, retry_after_seconds: told }) => {
                    assert!([1, left, left + 1].contains(&told), "{told} at {} ms", world.now_ms);
                }
                Err(refused) => panic!("{refused:?}"),
            }
        }
        world.pass(250);
    }
    assert_eq!(admitted.iter().sum::<u32>(), 10, "{admitted:?}");
    assert_eq!((0..3).map(|gateway| world.standing(gateway).0).collect::<Vec<_>>(), [0, 0, 0]);
    // All that was admitted was so in the first three seconds, and leaves a minute later.
    world.pass(60_000 - world.now_ms - 1);
    for gateway in 0..3 {
        assert_eq!(world.short_request(gateway), in_a_minute(1), "gateway {gateway}");
    }
}

#[test]
fn what_an_idle_gateway_has_comes_back_within_about_a_second() {
    let mut world = World::new(2, LIMITS);
    assert_eq!(world.request(0), Ok(()));
    world.gateways[0].ended();
    // It has a few more, and so has not the other.
    for _ in 0..5 {
        assert_eq!(world.request(1), Ok(()));
        world.gateways[1].ended();
    }
    world.pass(1_250);
    for _ in 0..4 {
        assert_eq!(world.request(1), Ok(()));
    }
    assert_eq!(world.request(1), at_once(), "four run");
    world.gateways[1].ended();
    assert_eq!(world.short_request(1), in_a_minute(59));
    assert_eq!(world.standing(1), (0, 60));
    assert_eq!(world.standing(0).0, 5, "of the other's it has heard of four");
}

#[test]
fn a_gateway_that_is_closed_gives_back_at_once_what_it_did_not_use() {
    let mut world = World::new(2, LIMITS);
    for _ in 0..6 {
        assert_eq!(world.short_request(0), Ok(()));
    }
    assert!(world.ask(0, true).rests);
    for _ in 0..4 {
        assert_eq!(world.request(1), Ok(()));
    }
    world.gateways[1].ended();
    assert_eq!(world.request(1), in_a_minute(60));
}

#[test]
fn two_that_are_asked_for_more_than_there_is_get_about_the_same() {
    let limits = Limits { per_minute: 600, in_flight: 8 };
    let mut world = World::new(2, limits);
    // How many each admits of so many requests at each twentieth of a second, and how many messages that takes.
    let run = |world: &mut World, seconds: u32, requests: [u32; 2]| {
        let (mut admitted, before) = ([0_u32; 2], world.messages);
        for _ in 0..seconds * 20 {
            for gateway in 0..2 {
                for _ in 0..requests[gateway] {
                    admitted[gateway] += u32::from(world.short_request(gateway).is_ok());
                }
            }
            world.pass(50);
        }
        (admitted, world.messages - before)
    };
    assert_eq!(run(&mut world, 60, [6, 0]).0, [600, 0]);
    // The other one comes, and both are asked for more than there is: one for more than the other.
    let before: Vec<_> = (0..4).map(|_| run(&mut world, 60, [6, 2]).0).collect();
    let (both, messages) = run(&mut world, 60, [6, 2]);
    assert_eq!(both.iter().sum::<u32>(), 600, "{both:?}");
    assert!(both.iter().all(|admitted| (250..=350).contains(admitted)), "{both:?} after {before:?}");
    assert!(messages < 400, "{messages} messages for 9,600 requests in a minute");
    // When it goes, all of it is the first one's again.
    run(&mut world, 62, [6, 0]);
    assert_eq!(run(&mut world, 60, [6, 0]).0, [600, 0]);
}

#[test]
fn a_large_limit_costs_far_less_than_a_message_for_a_hundred_requests() {
    let limits = Limits { per_minute: 60_000, in_flight: 100 };
    let mut world = World::new(2, limits);
    for _ in 0..30_000 {
        assert_eq!(world.short_request(0), Ok(()));
        world.pass(2);
    }
    assert!(world.messages < 90, "{} messages for 30,000 requests in a minute", world.messages);
}

#[test]
fn a_client_that_hammers_a_full_limit_costs_a_message_a_second() {
    let mut world = World::new(2, LIMITS);
    for _ in 0..10 {
        assert_eq!(world.short_request(0), Ok(()));
    }
    world.messages = 0;
    for _ in 0..1_000 {
        for gateway in 0..2 {
            assert!(world.short_request(gateway).is_err());
        }
        world.pass(10);
    }
    assert!(world.messages <= 2 * 2 * 11, "{} messages in ten seconds", world.messages);
}

#[test]
fn nothing_is_admitted_on_a_share_that_can_not_be_renewed() {
    let limits = Limits { per_minute: 600, in_flight: 64 };
    let mut world = World::new(1, limits);
    assert_eq!(world.short_request(0), Ok(()));
    let now = world.now();
    let message = world.gateways[0].message(now, limits, false);
    // No answer comes: what is left is used, until it ends.
    world.gateways[0].answered(now, &message, None);
    let (last, over) = (now + Duration::from_millis(9_999), now + Duration::from_secs(10));
    assert_eq!(world.gateways[0].check(last, limits), Ok(()));
    assert_eq!(world.gateways[0].check(over, limits), Err(NotAdmitted::NoShare));
    // An answer that comes after all is not believed, nor is one to another message.
    let grant = world.hear(0, &message);
    world.gateways[0].answered(over, &message, grant.as_ref());
    assert_eq!(world.gateways[0].check(over, limits), Err(NotAdmitted::NoShare));
    world.now_ms += 10_000;
    assert_eq!(world.short_request(0), Ok(()));
}

#[test]
fn an_account_is_forgotten_when_the_ledger_has_forgotten_it() {
    let mut world = World::new(1, LIMITS);
    assert_eq!(world.request(0), Ok(()));
    let is_idle = |world: &mut World| {
        let now = world.now();
        world.gateways[0].is_idle(now)
    };
    world.pass(70_000);
    assert!(!is_idle(&mut world), "it runs");
    world.gateways[0].ended();
    world.pass(61_000);
    assert!(!is_idle(&mut world), "the ledger knows of it");
    world.pass(20_000);
    assert!(is_idle(&mut world));
}
