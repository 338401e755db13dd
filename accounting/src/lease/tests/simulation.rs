//! The protocol of leases as a whole: one ledger, a few gateways, and a network that loses, repeats, delays and reorders
//! what they say to each other.
//!
//! A gateway may crash at any time: its spool survives, and what it knew does not. The ledger may be dropped and folded
//! anew. Whatever happens, nothing is ever spent that was not reserved, nothing is reserved that is not there (but where a
//! fact took it away), and in the end nothing stays reserved.

mod gateway;
mod ledger;

use proptest::prelude::*;
use schemas::Usd;
use schemas::api::Funds;

use self::gateway::{Answer, Gateway, Message};
use self::ledger::{Ledger, Record};

fn funds(pico: i64, plan_tokens: u64) -> Funds {
    Funds { usd: Usd::from_pico(pico), plan_tokens }
}

fn pico(funds: Funds) -> i64 {
    funds.usd.to_pico().unwrap()
}

/// What happens next. Gateways and messages are meant modulo how many there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask { gateway: usize, keep: Funds, more: Funds },
    Close { gateway: usize },
    Admit { gateway: usize, most: Funds },
    Settle { gateway: usize, actual: Funds },
    Drain { gateway: usize, records: usize },
    Crash { gateway: usize },
    CloseFormer { gateway: usize },
    Fold { records: usize },
    ToLedger { which: usize, fate: Fate },
    ToGateway { which: usize, fate: Fate },
    Given(Funds),
    Taken(Funds),
    Reset,
}

/// What a network does to a message.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Delivered,
    DeliveredAndLeftThere,
    Lost,
}

fn some() -> impl Strategy<Value = Funds> {
    (0..60_i64, 0..30_u64).prop_map(|(pico, plan_tokens)| funds(pico, plan_tokens))
}

fn step(taken: bool) -> impl Strategy<Value = Step> {
    let gateway = 0..4_usize;
    let fate = prop_oneof![6 => Just(Fate::Delivered), 2 => Just(Fate::DeliveredAndLeftThere), 1 => Just(Fate::Lost)];
    let message = || (0..64_usize, fate.clone());
    prop_oneof![
        6 => (gateway.clone(), some(), some()).prop_map(|(gateway, keep, more)| Step::Ask { gateway, keep, more }),
        1 => gateway.clone().prop_map(|gateway| Step::Close { gateway }),
        6 => (gateway.clone(), some()).prop_map(|(gateway, most)| Step::Admit { gateway, most }),
        6 => (gateway.clone(), some()).prop_map(|(gateway, actual)| Step::Settle { gateway, actual }),
        4 => (gateway.clone(), 1..4_usize).prop_map(|(gateway, records)| Step::Drain { gateway, records }),
        1 => gateway.clone().prop_map(|gateway| Step::Crash { gateway }),
        1 => gateway.prop_map(|gateway| Step::CloseFormer { gateway }),
        5 => (1..5_usize).prop_map(|records| Step::Fold { records }),
        9 => message().prop_map(|(which, fate)| Step::ToLedger { which, fate }),
        9 => message().prop_map(|(which, fate)| Step::ToGateway { which, fate }),
        2 => some().prop_map(Step::Given),
        2 => some().prop_map(if taken { Step::Taken } else { Step::Given }),
        1 => Just(Step::Reset),
    ]
}

#[derive(Debug)]
struct World {
    ledger: Ledger,
    gateways: Vec<Gateway>,
    to_ledger: Vec<Message>,
    to_gateways: Vec<Answer>,
    leases_opened: u32,
    /// Whether a fact may have taken away what was reserved.
    taken: bool,
}

impl World {
    fn new(gateways: usize, taken: bool) -> Self {
        let gateways = (0..gateways).map(|number| Gateway { number, ..Gateway::default() }).collect();
        let ledger = Ledger { log: vec![Record::Given(funds(100, 50))], ..Ledger::default() };
        Self { ledger, gateways, to_ledger: vec![], to_gateways: vec![], leases_opened: 0, taken }
    }

    fn gateway(&mut self, number: usize) -> &mut Gateway {
        let gateways = self.gateways.len();
        &mut self.gateways[number % gateways]
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask { gateway, keep, more } => {
                let fresh = self.leases_opened + 1;
                let message = self.gateway(gateway).ask(fresh, keep, more);
                self.leases_opened = self.leases_opened.max(message.lease());
                self.to_ledger.push(message);
            }
            Step::Close { gateway } => {
                let message = self.gateway(gateway).close();
                self.to_ledger.extend(message);
            }
            Step::Admit { gateway, most } => self.gateway(gateway).admit(most),
            Step::Settle { gateway, actual } => self.gateway(gateway).settle(actual),
            Step::Drain { gateway, records } => {
                let drained = self.gateway(gateway).drain(records);
                self.ledger.log.extend(drained);
            }
            Step::Crash { gateway } => self.gateway(gateway).crash(),
            Step::CloseFormer { gateway } => {
                let message = self.gateway(gateway).close_former();
                self.to_ledger.extend(message);
            }
            Step::Fold { records } => self.ledger.fold(records),
            Step::ToLedger { which, fate } => {
                if let Some(message) = pass(&mut self.to_ledger, which, fate) {
                    self.hear(&message);
                }
            }
            Step::ToGateway { which, fate } => {
                if let Some(answer) = pass(&mut self.to_gateways, which, fate) {
                    self.gateways[answer.gateway].hear(&answer);
                }
            }
            Step::Given(given) => self.ledger.log.push(Record::Given(given)),
            Step::Taken(taken) => self.ledger.log.push(Record::Taken(taken)),
            Step::Reset => self.ledger.reset(),
        }
    }

    /// The ledger hears a message.
    fn hear(&mut self, message: &Message) {
        match message {
            Message::Close { gateway, run } => self.ledger.close_leases(*gateway, *run),
            Message::Lease { gateway, run, id, request } => {
                let (gateway, run, id) = (*gateway, *run, *id);
                let before = self.ledger.reserved();
                if let Some(granted) = self.ledger.lease(id, gateway, run, request) {
                    self.to_gateways.push(Answer { gateway, id, seq: request.seq, granted });
                }
                let most = self.ledger.has().max(before);
                assert!(most.covers(self.ledger.reserved()), "granted what is not there: {message:?}");
            }
        }
    }

    fn check(&self) {
        let (has, reserved) = (self.ledger.has(), self.ledger.reserved());
        let refolding = self.ledger.next < self.ledger.floor;
        if !self.taken {
            assert!(refolding || has.covers(reserved), "{reserved:?} reserved of {has:?}");
            assert!(self.ledger.balance >= 0, "overspent");
        }
        for id in 1..=self.leases_opened {
            let row = self.ledger.leases.get(&id);
            // What was folded before a reset has been reserved then.
            let from = self.ledger.next.max(self.ledger.floor);
            let due = self.still_to_post(id, from).plus(self.may_still_spend(id)).unwrap();
            let reserved = row.map_or(Funds::ZERO, |row| row.lease.reserved());
            assert!(reserved.covers(due), "of lease {id}, {due:?} may post and {reserved:?} is reserved");
        }
    }

    /// What was charged on a lease, and is in a spool, or in the log from `from` on.
    fn still_to_post(&self, id: u32, from: usize) -> Funds {
        let spooled = self.gateways.iter().flat_map(|gateway| &gateway.spool);
        let records = spooled.chain(&self.ledger.log[from..]);
        records.fold(Funds::ZERO, |sum, record| match record {
            Record::Usage { lease, funding } if *lease == id => sum.plus(*funding).unwrap(),
            _ => sum,
        })
    }

    fn may_still_spend(&self, id: u32) -> Funds {
        let held = self.gateways.iter().filter_map(|gateway| gateway.held).find(|held| held.id == id);
        held.map_or(Funds::ZERO, |held| held.limit.less(held.spent))
    }

    /// Everything that is on its way arrives, everybody closes what they have, starts once more, and all is folded.
    fn end(&mut self) {
        for restarted in [false, true] {
            for number in 0..self.gateways.len() {
                let records = self.gateways[number].spool.len();
                self.step(Step::Settle { gateway: number, actual: funds(60, 30) });
                self.step(Step::Drain { gateway: number, records: records + 1 });
                if restarted {
                    self.step(Step::Crash { gateway: number });
                }
            }
            self.step(Step::Fold { records: usize::MAX });
            self.check();
            for _ in 0..2 {
                for gateway in 0..self.gateways.len() {
                    self.step(Step::Close { gateway });
                    self.step(Step::CloseFormer { gateway });
                }
                while !self.to_ledger.is_empty() {
                    self.step(Step::ToLedger { which: 0, fate: Fate::Delivered });
                    self.check();
                }
                while !self.to_gateways.is_empty() {
                    self.step(Step::ToGateway { which: 0, fate: Fate::Delivered });
                    self.check();
                }
            }
        }
        assert_eq!(self.ledger.reserved(), Funds::ZERO, "stranded");
        assert!(self.ledger.leases.is_empty(), "left over");
    }
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

fn run(gateways: usize, taken: bool, steps: Vec<Step>) {
    let mut world = World::new(gateways, taken);
    world.step(Step::Fold { records: 1 });
    for step in steps {
        world.step(step);
        world.check();
    }
    world.end();
}

fn history(taken: bool) -> impl Strategy<Value = (usize, Vec<Step>)> {
    (1..5_usize, prop::collection::vec(step(taken), 0..150))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_overspent_and_nothing_stays_reserved((gateways, steps) in history(false)) {
        run(gateways, false, steps);
    }

    #[test]
    fn what_facts_take_away_is_all_that_is_short((gateways, steps) in history(true)) {
        run(gateways, true, steps);
    }
}
