//! What is on the other end of a host's networks: aggregation that two bonds agree upon (TODO 20), and whether a network
//! answers (TODO 23). The peers are real: network namespaces of the same host, joined by veth pairs, which upstream's default
//! `fake_nics` lets stand in for cards.

use hosts::Host;
use lab_tests::network::{LONG, agent, script, until};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Capabilities, through a filter of jq.
fn told(host: &Host, filter: &str) -> hosts::Result<String> {
    script(
        host,
        &format!("call Host.getNetworkCapabilities | jq -c '{filter}'"),
    )
}

/// `bond0` here and `bond1` in the namespace `peer`, joined by two pairs; what makes a bond of two ports.
const BONDS: &str = r"
modprobe bonding max_bonds=0
ip netns add peer; ip netns add third
for n in 0 1; do ip link add veth_a$n type veth peer name b$n netns peer; done
bond() { # NAMESPACE NAME PORT...
    local in=$1 name=$2; shift 2
    ip -n $in link add $name type bond mode 802.3ad miimon 100 lacp_rate fast
    for port; do ip -n $in link set $port down; ip -n $in link set $port master $name; done
    ip -n $in link set $name up
}
ip netns attach self $$
bond self bond0 veth_a0 veth_a1
bond peer bond1 b0 b1
";

#[test]
fn lab_lacp_is_told_as_an_unprivileged_agent_sees_it() {
    hosts::test("lab_lacp", |lab| -> Outcome {
        let host = agent(lab, &[])?;
        host.check(BONDS)?;
        script(&host, "call Host.ping2 >/dev/null")?;
        let user = host.check("stat -c %U /proc/$(pgrep -xo vdsmd)/stat")?;
        assert_eq!(user, "vdsm", "the agent is not root");
        let agreed = "mac=$(ip netns exec peer cat /sys/class/net/bond1/address); call Host.getNetworkCapabilities | \
                      jq -e --arg mac $mac '.bondings.bond0.ad_partner_mac == $mac and \
                      (.bondings.bond0.ad_aggregator_id | type) == \"string\" and \
                      .bondings.bond0.ad_aggregator_id == .nics.veth_a0.ad_aggregator_id and \
                      .bondings.bond0.ad_aggregator_id == .nics.veth_a1.ad_aggregator_id'";
        until(&host, "both bonds agree", agreed)?;
        // The kernel's own words, which it tells root alone.
        let kernel = host.check(
            "awk '/Active Aggregator Info/ { a = 1 } a && /Aggregator ID/ { id = $3 } \
             a && /Partner Mac/ { print id, $4; exit }' /proc/net/bonding/bond0",
        )?;
        let ours = told(
            &host,
            ".bondings.bond0 | [.ad_aggregator_id, .ad_partner_mac]",
        )?;
        let (id, mac) = kernel.split_once(' ').unwrap_or_default();
        assert_eq!(ours, format!("[\"{id}\",\"{mac}\"]"));
        split_over_two_peers(&host)?;
        nobody_answers(&host)?;
        Ok(())
    });
}

/// One cable leads to a bond that knows nothing of the other.
fn split_over_two_peers(host: &Host) -> Outcome {
    script(
        host,
        "ip -n peer link set b1 nomaster; ip -n peer link set b1 netns third; \
         ip -n third link add bond2 type bond mode 802.3ad miimon 100 lacp_rate fast; \
         ip -n third link set b1 down; ip -n third link set b1 master bond2; ip -n third link set bond2 up",
    )?;
    until(
        host,
        "the ports are in different aggregators",
        "call Host.getNetworkCapabilities | jq -e '.nics.veth_a0.ad_aggregator_id != .nics.veth_a1.ad_aggregator_id \
         and (.nics.veth_a0.ad_aggregator_id | type) == \"string\" and (.nics.veth_a1.ad_aggregator_id | type) == \"string\"'",
    )?;
    // A port that goes and comes back is told, and clients are.
    host.check(
        "rm -f /root/events; setsid vdsm-client --events --prefix '|net|host_conn' --count 1 --timeout 600 \
         >/root/events 2>&1 </dev/null & disown; sleep 5",
    )?;
    host.check("ip link set veth_a1 nomaster")?;
    until(
        host,
        "the port has no aggregator any more",
        "call Host.getNetworkCapabilities | jq -e '.nics.veth_a1 | has(\"ad_aggregator_id\") | not'",
    )?;
    until(host, "the event", "grep -q host_conn /root/events")?;
    Ok(())
}

fn nobody_answers(host: &Host) -> Outcome {
    host.check("ip netns del peer; ip netns del third")?;
    host.check(
        "ip link add veth_c0 type veth peer name c0; ip link set c0 up; \
         ip link add bond5 type bond mode 802.3ad miimon 100 && ip link set veth_c0 down && \
         ip link set veth_c0 master bond5 && ip link set bond5 up",
    )?;
    until(
        host,
        "an id, and a partner of zeroes",
        "call Host.getNetworkCapabilities | jq -e '.bondings.bond5 | .ad_partner_mac == \"00:00:00:00:00:00\" and \
         (.ad_aggregator_id | type) == \"string\"'",
    )?;
    host.check(
        "ip link add veth_d0 type veth peer name d0; ip link set d0 up; \
         ip link add bond6 type bond mode active-backup miimon 100 && ip link set veth_d0 down && \
         ip link set veth_d0 master bond6 && ip link set bond6 up",
    )?;
    let none = told(
        host,
        "[.bondings.bond6, .nics.veth_d0] | map(has(\"ad_aggregator_id\") or has(\"ad_partner_mac\"))",
    )?;
    assert_eq!(none, "[false,false]", "no aggregation in mode 1");
    Ok(())
}

/// Two networks on VLANs of one card, probed each second, and one beside them that is not.
const PROBED: &str = r#"setup '
  "seven":{"nic":"veth_p0","vlan":7,"bridged":false,"ipaddr":"198.51.100.1","prefix":24,
           "custom":{"ping_target":"198.51.100.2","ping_interval":"1","ping_fail_count":"3","ping_recover_count":"2"}},
  "eight":{"nic":"veth_p0","vlan":8,"bridged":false,"ipaddr":"203.0.113.1","prefix":24,
           "custom":{"ping_target":"203.0.113.2","ping_interval":"1","ping_fail_count":"3","ping_recover_count":"2"}},
  "bare":{"nic":"veth_q0","bridged":true,
           "custom":{"ping_target":"192.0.2.2","ping_interval":"2","ping_fail_count":"2","ping_recover_count":"2"}}' \
  '' '"connectivityCheck":false,"commitOnSuccess":true'"#;

const PEER: &str = r"
ip netns add peer; ip -n peer link set lo up
ip link add veth_p0 type veth peer name p0 netns peer; ip link add veth_q0 type veth peer name q0 netns peer
for id in 7 8; do ip -n peer link add link p0 name p0.$id type vlan id $id; done
ip -n peer link set p0 up; ip -n peer link set q0 up; ip -n peer link set p0.7 up; ip -n peer link set p0.8 up
ip -n peer addr add 198.51.100.2/24 dev p0.7; ip -n peer addr add 203.0.113.2/24 dev p0.8
ip -n peer addr add 192.0.2.2/24 dev q0
ip link set veth_p0 up; ip link set veth_q0 up
";

/// The peer hears nothing by this interface: neither echo requests nor ARP. The carrier stays.
fn deafen(device: &str) -> String {
    format!(
        "ip netns exec peer nft -f - <<'END'\n\
         table inet deaf_{name} {{ chain in {{ type filter hook input priority 0; iifname \"{device}\" icmp type echo-request drop; }}; }}\n\
         table arp deaf_{name} {{ chain in {{ type filter hook input priority 0; iifname \"{device}\" drop; }}; }}\nEND",
        name = device.replace('.', "_")
    )
}

fn cure(device: &str) -> String {
    let name = device.replace('.', "_");
    format!(
        "ip netns exec peer nft delete table inet deaf_{name}; ip netns exec peer nft delete table arp deaf_{name}"
    )
}

fn states(devices: &str, state: &str) -> String {
    format!(
        "call Host.getNetworkStatistics | jq -e '[.network[{devices}].state] | all(. == \"{state}\")'"
    )
}

#[test]
fn lab_network_that_does_not_answer_is_told_down() {
    hosts::test("lab_reachability", |lab| -> Outcome {
        let host = agent(lab, &[])?;
        host.check(PEER)?;
        script(&host, PROBED)?;
        let all = "\"veth_p0\",\"veth_p0.7\",\"veth_p0.8\",\"veth_q0\"";
        until(&host, "all answer", &states(all, "up"))?;
        until(
            &host,
            "the verdicts are kept",
            "grep -q eight /var/lib/vdsm/networks/*.json",
        )?;

        host.check(&deafen("p0.7"))?;
        until(&host, "seven is down", &states("\"veth_p0.7\"", "down"))?;
        script(
            &host,
            &states("\"veth_p0\",\"veth_p0.8\",\"veth_q0\"", "up"),
        )?;
        let warned = "test $(journalctl -b -u vdsmd --no-pager -o cat | grep -c 'network seven is down') -eq";
        script(&host, &format!("{warned} 1"))?;

        // What is thought survives a restart: it is down from the first answer on, and told no second time.
        // It is written down a moment after it was told, and a stop does not wait for that.
        host.check("sleep 15")?;
        host.check("systemctl restart vdsmd")?;
        script(&host, &states("\"veth_p0.7\"", "down"))?;
        script(&host, &format!("sleep 10; {warned} 1"))?;

        // With all of its networks the card is down, too.
        host.check(&deafen("p0.8"))?;
        until(
            &host,
            "all on the card",
            &states("\"veth_p0\",\"veth_p0.8\"", "down"),
        )?;
        host.check(&cure("p0.8"))?;
        host.check(&cure("p0.7"))?;
        until(&host, "all answer again", &states(all, "up"))?;

        // Without an address: root asks by ARP.
        host.check(&deafen("q0"))?;
        until(&host, "bare is down", &states("\"veth_q0\"", "down"))?;
        host.check(&cure("q0"))?;
        until(&host, "bare is up", &states("\"veth_q0\"", "up"))?;

        // A third of all packets lost is no reason.
        host.check(
            "modprobe sch_netem; ip netns exec peer tc qdisc add dev p0 root netem loss 30%",
        )?;
        let before =
            host.check("journalctl -b -u vdsmd --no-pager -o cat | grep -c 'is down' || true")?;
        host.check_for("sleep 120", LONG)?;
        let after =
            host.check("journalctl -b -u vdsmd --no-pager -o cat | grep -c 'is down' || true")?;
        assert_eq!(before, after, "no flapping at 30 % loss");
        Ok(())
    });
}
