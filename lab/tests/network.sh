# shellcheck shell=bash
# Words of lab tests about networks; sourced by bash in a lab host, after agent.sh. mgmt0 is the lab's own interface, by
# which commands come: no test may look at it or change it.

# The networks as they are, without what changes by itself: what is the same here is the same state.
fingerprint() {
    {
        ip -j -d link show | jq -c '.[] | select(.ifname != "mgmt0" and .ifname != "lo") |
            ["link", .ifname, .master, .link, .mtu, (.flags | index("UP") != null), .linkinfo.info_kind,
             .linkinfo.info_data.id, .linkinfo.info_data.mode, .linkinfo.info_data.stp_state]'
        ip -j addr show | jq -c '.[] | select(.ifname != "mgmt0" and .ifname != "lo") | .ifname as $link |
            .addr_info[] | select(.scope == "global") | ["address", $link, .local, .prefixlen]'
        {
            ip -4 -o route show table all
            ip -6 -o route show table all
        } | grep -vE 'dev (mgmt0|lo)\b|table local|proto (kernel|ra)' |
            sed -E 's/ (linkdown|dead)\b//g; s/ +/ /g; s/ $//; s/^/route /'
        ip -4 rule show
        ip -6 rule show
    } | sort
}

# Waits until no change of networks is under way; the root helper may be starting meanwhile.
settled() {
    until state=$(vdsm-tool net-state --json 2>/dev/null) && [ "$(jq -r .pending <<<"$state")" = null ]; do
        sleep 0.5
    done
}

# many N FIRST BASE: N bridged networks n1, n2, ... on VLANs FIRST+1, ... of BASE, as the inside of a JSON object.
many() {
    local i
    for ((i = 1; i <= $1; i++)); do
        printf '%s"n%d":{"nic":"%s","vlan":%d,"ipaddr":"10.%d.%d.1","prefix":24}' \
            "$([ "$i" -eq 1 ] || echo ,)" "$i" "$3" $(($2 + i)) $((100 + i / 250)) $((i % 250))
    done
}

# gone N: the removal of n1 to nN.
gone() {
    local i
    for ((i = 1; i <= $1; i++)); do
        printf '%s"n%d":{"remove":true}' "$([ "$i" -eq 1 ] || echo ,)" "$i"
    done
}

# setup NETWORKS BONDINGS OPTIONS: Host.setupNetworks with the insides of these objects.
setup() {
    call Host.setupNetworks '{"networks":{'"$1"'},"bondings":{'"${2:-}"'},"options":{'"${3:-\"connectivityCheck\":false}"'}}'
}

# later NAME COMMAND...: runs it in the background; its output and its exit code are in /root/NAME.out and /root/NAME.code.
later() {
    local name=$1
    shift
    rm -f "/root/$name.out" "/root/$name.code"
    (
        set +e
        "$@" >"/root/$name.out" 2>&1 </dev/null
        echo $? >"/root/$name.code"
    ) >/dev/null 2>&1 </dev/null &
    disown
}

# pings ADDRESS...: pings each at 10 ms in the background, until pinged.
pings() {
    local address
    rm -f /root/ping.*
    for address; do
        setsid ping -n -i 0.01 "$address" >"/root/ping.$address" 2>&1 </dev/null &
        disown
    done
    for address; do
        until grep -q 'icmp_seq=' "/root/ping.$address"; do sleep 0.2; done
    done
}

# pinged ADDRESS: ends its pings; prints how many were answered, how many were not, and the longest run of these.
pinged() {
    local pid
    for pid in $(pgrep -f "^ping -n -i 0.01 $1\$"); do kill -INT "$pid"; done
    until grep -q 'packets transmitted' "/root/ping.$1"; do sleep 0.2; done
    awk -F 'icmp_seq=' '/ttl=|hlim=/ { split($2, w, " "); s = w[1]; if (s > last + 1 && last) { lost += s - last - 1;
        if (s - last - 1 > run) run = s - last - 1 } last = s; n++ } END { print n + 0, lost + 0, run + 0 }' "/root/ping.$1"
}
