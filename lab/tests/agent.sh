# shellcheck shell=bash
# Words of lab tests for the installed agent; sourced by bash in a lab host. Ids are fixed, so that a test finds after a
# reboot what it made before.

set -euo pipefail
store=/var/lib/vdsm/store
none=00000000-0000-0000-0000-000000000000
domain=d0000000-0000-4000-8000-000000000001
pool=90000000-0000-4000-8000-000000000002
image=a0000000-0000-4000-8000-000000000003
volume=e0000000-0000-4000-8000-000000000004
vm=b0000000-0000-4000-8000-000000000005
ids='"storagepoolID":"'$pool'","storagedomainID":"'$domain'","imageID":"'$image'","volumeID":"'$volume'"'
server='{"storagepoolID":"'$none'","domainType":4,"connectionParams":[{"id":"'$none'","connection":"'$store'","user":"","iqn":"","port":""}]}'

call() { # Namespace.verb [JSON]: the answer. As Engine does, it asks again while the agent says that it still starts (99).
    local said
    for _ in {1..200}; do
        { said=$(vdsm-client --timeout 600 -o json "${1%.*}" "${1#*.}" -f - <<<"${2:-{\}}" 2>&1 >&3); } 3>&1 && return
        [[ $said == *code=99,* ]] || break
        sleep 1
    done
    printf '%s\n' "$said" >&2
    return 1
}

task() { # Namespace.verb JSON: starts a task, waits for its success
    local id status
    id=$(call "$1" "$2" | jq -r .)
    until status=$(call Task.getStatus '{"taskID":"'"$id"'"}') && [ "$(jq -r .taskState <<<"$status")" = finished ]; do
        sleep 1
    done
    [ "$(jq -r .taskResult <<<"$status")" = success ] || { echo "$1: $status" >&2; return 1; }
    call Task.clear '{"taskID":"'"$id"'"}' >/dev/null
}

# A local storage domain, and a pool of it, both new.
make_pool() {
    mkdir -p $store
    call StoragePool.connectStorageServer "$server" | jq -e '.[0].status == 0' >/dev/null
    call StorageDomain.create '{"storagedomainID":"'$domain'","domainType":4,"typeArgs":"'$store'","name":"lab","domainClass":1,"version":5,"blockSize":512,"maxHosts":250}'
    call StoragePool.create '{"storagepoolID":"'$pool'","name":"lab","masterSdUUID":"'$domain'","masterVersion":1,"domainList":["'$domain'"],"lockRenewalIntervalSec":5,"leaseTimeSec":60,"ioOpTimeoutSec":10,"leaseRetries":3}'
}

# As Engine does for a host that has come up: server, pool, SPM.
connect_pool() {
    call StoragePool.connectStorageServer "$server" | jq -e '.[0].status == 0' >/dev/null
    call StoragePool.connect '{"storagepoolID":"'$pool'","hostID":1,"scsiKey":"'$pool'","masterSdUUID":"'$domain'","masterVersion":1,"domainDict":{"'$domain'":"active"}}'
    task StoragePool.spmStart '{"storagepoolID":"'$pool'","prevID":-1,"prevLver":"-1","enableScsiFencing":"false","maxHostID":250,"domVersion":"5"}'
}

create_volume() { # bytes, preallocate (1: whole, 2: sparse): the task's id
    call Volume.create '{'"$ids"',"size":"'"$1"'","volFormat":5,"preallocate":'"$2"',"diskType":"DATA","desc":"{}","srcImgUUID":"'$none'","srcVolUUID":"'$none'"}' | jq -r .
}

# A volume with the guest of the file /root/guest.raw.
make_disk() {
    task Volume.create '{'"$ids"',"size":"134217728","volFormat":5,"preallocate":2,"diskType":"DATA","desc":"{}","srcImgUUID":"'$none'","srcVolUUID":"'$none'"}'
    local path
    path=$(call Image.prepare "{$ids}" | jq -r .path)
    qemu-img convert -n -f raw -O raw /root/guest.raw "$path"
    call Image.teardown "{$ids}" >/dev/null
}

# The virtual machine of /root/vm.xml, up to its greeting on the serial console.
start_vm() {
    local xml
    # The management network is not there yet; the console of the screen is the host's alone.
    xml=$(sed -e 's|<listen type="network".*/>|<listen type="address" address="127.0.0.1"/>|' -e "s/@VM_ID@/$vm/g; s/@POOL_ID@/$pool/g; s/@DOMAIN_ID@/$domain/g; s/@IMAGE_ID@/$image/g; s/@VOLUME_ID@/$volume/g" \
        /root/vm.xml | jq -Rs .)
    call VM.create '{"vmID":"'$vm'","vmParams":{"vmId":"'$vm'","xml":'"$xml"'}}' >/dev/null
    until [ "$(vm_stats .status)" != WaitForLaunch ]; do sleep 1; done
    local console
    console=$(call Host.dumpxmls '{"vmList":["'$vm'"]}' | jq -r .[] |
        grep -A3 "<serial type='unix'" | grep -o "path='[^']*'" | head -n 1 | cut -d"'" -f2)
    [ -n "$console" ] || { echo "no console: $(vm_stats .)" >&2; return 1; }
    : >/root/console
    setsid socat -u "UNIX-CONNECT:$console" CREATE:/root/console </dev/null >/root/socat.log 2>&1 &
    until grep -q VDSM-DEMO-GUEST-UP /root/console; do
        [ "$(vm_stats .status)" != Down ] || { vm_stats . >&2; return 1; }
        sleep 1
    done
}

vm_stats() { # jq's path within the statistics of the VM
    call VM.getStats '{"vmID":"'$vm'"}' | jq -r ".[0]$1"
}
