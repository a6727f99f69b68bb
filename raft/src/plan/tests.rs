//! Who may come, vote and go, in tables.

use super::*;

const LAG_MAX: u64 = 10;

/// Nodes 1 to `nodes`, of which 1 to `voters` vote; all live and caught up; 1 leads.
fn view(nodes: u64, voters: u64) -> View {
    let record = |id: u64| NodeRecord {
        peer_addr: format!("10.0.0.{id}:4000"),
        http_addr: format!("10.0.0.{id}:3000"),
        instance: id.into(),
        intent: Intent::Voter,
    };
    View {
        configs: vec![(1..=voters).collect()],
        nodes: (1..=nodes).map(|id| (id, record(id))).collect(),
        live: (1..=nodes).collect(),
        lag_entries: (2..=nodes).map(|id| (id, 0)).collect(),
        leader: 1,
        basis: 7,
        version: 1,
        builds: BTreeMap::new(),
    }
}

fn away(mut view: View, gone: &[NodeId]) -> View {
    view.live.retain(|id| !gone.contains(id));
    view
}

fn behind(mut view: View, id: NodeId) -> View {
    view.lag_entries.insert(id, LAG_MAX + 1);
    view
}

fn moved_to(mut view: View, id: NodeId, to: NodeId) -> View {
    let address = view.nodes[&to].peer_addr.clone();
    view.nodes.get_mut(&id).expect("a member").peer_addr = address;
    view
}

fn intending(mut view: View, id: NodeId, intent: Intent) -> View {
    view.nodes.get_mut(&id).expect("a member").intent = intent;
    view
}

/// Left half-way between two sets of voters.
fn half_way(nodes: u64, from: &[NodeId], to: &[NodeId]) -> View {
    View { configs: [from, to].map(|voters| voters.iter().copied().collect()).to_vec(), ..view(nodes, 1) }
}

fn refusal(view: &View, change: Change) -> Option<Refusal> {
    view.plan(Some(change), LAG_MAX).refusal
}

/// The code of the refusal, or the voters and members after it, and whom leadership goes to first.
fn line(view: &View, change: Change) -> String {
    let plan = view.plan(Some(change), LAG_MAX);
    let ids = |ids: &BTreeSet<NodeId>| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    match &plan.refusal {
        Some(refusal) => {
            assert_eq!(plan.after, plan.before, "what is refused changes nothing");
            refusal.code().to_string()
        }
        None => {
            let first = plan.hand_over_to.map_or(String::new(), |to| format!(" after {to} leads"));
            format!("{} of {}{first}", ids(&plan.after.voters), ids(&plan.after.members))
        }
    }
}

#[test]
fn every_change_is_made_or_refused_as_this_table_says() {
    use Change::{Demote, Promote, Remove, Replace, Resume, Transfer, Undo};
    let table = [
        (view(4, 3), Promote { node_id: 4 }, "1,2,3,4 of 1,2,3,4"),
        (view(3, 3), Promote { node_id: 3 }, "votes_already"),
        (view(3, 3), Promote { node_id: 9 }, "not_a_member"),
        (away(view(4, 3), &[4]), Promote { node_id: 4 }, "not_live"),
        (behind(view(4, 3), 4), Promote { node_id: 4 }, "lags"),
        (moved_to(view(4, 3), 4, 2), Promote { node_id: 4 }, "address_in_use"),
        (away(view(4, 3), &[2]), Promote { node_id: 4 }, "1,2,3,4 of 1,2,3,4"),
        (view(3, 3), Demote { node_id: 3 }, "1,2 of 1,2,3"),
        (view(3, 3), Demote { node_id: 1 }, "2,3 of 1,2,3 after 2 leads"),
        (view(3, 2), Demote { node_id: 3 }, "not_a_voter"),
        (view(3, 1), Demote { node_id: 1 }, "last_voter"),
        (away(view(3, 3), &[3]), Demote { node_id: 2 }, "quorum_lost"),
        (away(view(3, 3), &[3]), Demote { node_id: 3 }, "1,2 of 1,2,3"),
        (view(3, 3), Remove { node_id: 2 }, "1,3 of 1,3"),
        (view(3, 3), Remove { node_id: 1 }, "2,3 of 2,3 after 2 leads"),
        (behind(view(3, 3), 2), Remove { node_id: 1 }, "2,3 of 2,3 after 3 leads"),
        (away(view(3, 3), &[3]), Remove { node_id: 3 }, "1,2 of 1,2"),
        (away(view(3, 3), &[3]), Remove { node_id: 2 }, "quorum_lost"),
        (away(view(5, 5), &[4, 5]), Remove { node_id: 5 }, "1,2,3,4 of 1,2,3,4"),
        (away(view(3, 3), &[2, 3]), Remove { node_id: 3 }, "quorum_lost"),
        (view(2, 1), Remove { node_id: 1 }, "last_voter"),
        (view(2, 1), Remove { node_id: 2 }, "1 of 1"),
        (view(2, 2), Remove { node_id: 9 }, "not_a_member"),
        (view(4, 3), Replace { node_id: 3, by: 4 }, "1,2,4 of 1,2,4"),
        (away(view(4, 3), &[3]), Replace { node_id: 3, by: 4 }, "1,2,4 of 1,2,4"),
        (moved_to(away(view(4, 3), &[3]), 4, 3), Replace { node_id: 3, by: 4 }, "1,2,4 of 1,2,4"),
        (view(4, 3), Replace { node_id: 1, by: 4 }, "2,3,4 of 2,3,4 after 2 leads"),
        (view(2, 1), Replace { node_id: 1, by: 2 }, "last_voter"),
        (behind(view(4, 3), 4), Replace { node_id: 3, by: 4 }, "lags"),
        (away(view(4, 3), &[4]), Replace { node_id: 3, by: 4 }, "not_live"),
        (view(4, 3), Replace { node_id: 3, by: 2 }, "votes_already"),
        (view(4, 3), Replace { node_id: 3, by: 9 }, "not_a_member"),
        (view(3, 3), Transfer { to: 2 }, "1,2,3 of 1,2,3"),
        (view(3, 2), Transfer { to: 3 }, "not_a_voter"),
        (away(view(3, 3), &[2]), Transfer { to: 2 }, "not_live"),
        (half_way(4, &[1, 2, 3], &[1, 2, 4]), Promote { node_id: 3 }, "unfinished"),
        (half_way(4, &[1, 2, 3], &[1, 2, 4]), Resume, "1,2,4 of 1,2,3,4"),
        (half_way(4, &[1, 2, 3], &[1, 2, 4]), Undo, "1,2,3 of 1,2,3,4"),
        (away(half_way(4, &[1, 2], &[1, 2, 3, 4]), &[3, 4]), Resume, "quorum_lost"),
        (away(half_way(4, &[1, 2], &[1, 2, 3, 4]), &[3, 4]), Undo, "1,2 of 1,2,3,4"),
        (half_way(3, &[1, 2], &[2, 3]), Resume, "2,3 of 1,2,3 after 2 leads"),
        (view(3, 3), Resume, "nothing_unfinished"),
        (view(3, 3), Undo, "nothing_unfinished"),
    ];
    for (number, (view, change, expected)) in table.into_iter().enumerate() {
        assert_eq!(line(&view, change.clone()), expected, "row {number}: {change:?}");
    }
}

#[test]
fn a_plan_says_how_many_may_fail_before_and_after() {
    let tolerated = |view: &View, change| {
        let plan = view.plan(change, LAG_MAX);
        [plan.before, plan.after].map(|side| (side.faults_tolerated, side.faults_tolerated_now))
    };
    assert_eq!(tolerated(&view(4, 3), None), [(1, 1), (1, 1)]);
    assert_eq!(tolerated(&view(4, 3), Some(Change::Promote { node_id: 4 })), [(1, 1), (1, 1)]);
    assert_eq!(tolerated(&view(5, 5), Some(Change::Remove { node_id: 5 })), [(2, 2), (1, 1)]);
    assert_eq!(tolerated(&away(view(3, 3), &[3]), Some(Change::Remove { node_id: 3 })), [(1, 0), (0, 0)]);
    assert_eq!(tolerated(&half_way(3, &[1], &[1, 2, 3]), None), [(0, 0), (0, 0)]);
}

#[test]
fn a_refusal_says_what_to_do_instead() {
    let wiped = moved_to(view(4, 3), 4, 2);
    let said = refusal(&wiped, Change::Promote { node_id: 4 }).expect("refused").to_string();
    assert!(said.contains("holdfast cluster replace 2 --by 4"), "{said}");
    let lost = refusal(&away(view(3, 3), &[3]), Change::Remove { node_id: 2 });
    assert_eq!(lost, Some(Refusal::QuorumLost { voters: 2, live: 1, quorum: 2 }));
}

#[test]
fn learners_become_voters_up_to_the_target_one_after_the_other() {
    assert_eq!(view(5, 1).due(3, LAG_MAX), Some(Change::Promote { node_id: 2 }));
    assert_eq!(view(5, 2).due(3, LAG_MAX), Some(Change::Promote { node_id: 3 }));
    assert_eq!(view(5, 3).due(3, LAG_MAX), None);
}

#[test]
fn a_learner_that_is_behind_away_or_wants_to_stay_one_does_not() {
    assert_eq!(behind(away(view(3, 1), &[3]), 2).due(3, LAG_MAX), None);
    assert_eq!(intending(view(2, 1), 2, Intent::Learner).due(3, LAG_MAX), None);
    let mut unknown = view(2, 1);
    unknown.lag_entries.clear();
    assert_eq!(unknown.due(3, LAG_MAX), None, "nothing is known of its log");
}

#[test]
fn nobody_is_promoted_while_a_voter_is_away() {
    assert_eq!(away(view(4, 2), &[2]).due(3, LAG_MAX), None);
}

#[test]
fn a_wiped_folder_behind_a_known_address_stays_a_learner() {
    assert_eq!(moved_to(view(3, 2), 3, 2).due(3, LAG_MAX), None);
}

#[test]
fn a_node_that_came_for_a_dead_members_place_takes_it() {
    let came = intending(moved_to(view(4, 3), 4, 3), 4, Intent::InPlaceOf(3));
    assert_eq!(came.due(3, LAG_MAX), None, "the member is at work");
    assert_eq!(away(came.clone(), &[3]).due(3, LAG_MAX), Some(Change::Replace { node_id: 3, by: 4 }));
    assert_eq!(away(behind(came.clone(), 4), &[3]).due(3, LAG_MAX), None);
    assert_eq!(away(came, &[2, 3]).due(3, LAG_MAX), None, "those who vote now are no quorum");
}

#[test]
fn a_folder_is_known_by_its_instance() {
    assert_eq!(view(3, 3).member_of(2).map(|(id, _)| id), Some(2));
    assert_eq!(view(3, 3).member_of(7), None);
}
