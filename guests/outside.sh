#!/bin/sh
# Guests on networks outside their process: outside.sh MODE MACHINE KERNEL INITRD FILES
#
#   tap    a TAP interface, wire: a veth pair by packet socket. On the other side are dnsmasq and an HTTP server, in a network namespace.
#   qemu   as tap, with QEMU's tulip on QEMU's PC: MACHINE is qemu-system-i386, KERNEL a bzImage.
#   nat    the host's own connections: the guest fetches a file and resolves a name from servers on the host's loopback, which calls back by a forward. As root it becomes nobody first: no
#          privilege is needed.
#   two    two machines in two processes on one internal network, with one DHCP server between them; a capture of it is read by tcpdump.
#
# Exit status 77: this host cannot do it (the last line says why).
set -u
mode=$1 machine=$2 kernel=$3 initrd=$4 files=$5
append="cryptomgr.notests=1 console=ttyS0,115200 panic=-1 gt=cards=1"
work=$(mktemp -d)
jobs=
space=slotone-$$
cleanup() {
    [ -z "$jobs" ] || kill $jobs 2>/dev/null
    [ "$mode" = two ] || [ "$mode" = nat ] || ip netns del "$space" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
cannot() { echo "$1"; exit 77; }
# guest LOG ARGUMENTS..
guest() {
    log=$1
    shift
    if [ "$mode" = qemu ]; then
        $inside timeout 300 "$machine" -M pc,hpet=off -accel tcg -cpu pentium3 -m 128 -display none -nodefaults -no-reboot -serial stdio \
            -netdev tap,id=n,ifname=tap0,script=no,downscript=no -device tulip,netdev=n,mac=00:03:ff:00:00:66 \
            -kernel "$kernel" -initrd "$initrd" -append "$1" >"$log" 2>&1
        return
    fi
    "$@" --kernel "$kernel" --initrd "$initrd" --serial stdio --screen none --exit-after 120 >"$log" 2>&1
}

if [ "$mode" = two ]; then
    export XDG_RUNTIME_DIR="$work"
    guest "$work/one" "$machine" --nic internal=lab --pcap "nic0=$work/capture" --append "$append,peer" &
    one=$!
    guest "$work/two" "$machine" --nic internal=lab,mac=00-03-FF-00-00-77 --append "$append,peer"
    wait $one
    cat "$work/one" "$work/two"
    [ "$(grep -c '^GUEST-TESTS-PASS' "$work/one" "$work/two" | grep -c ':1$')" = 2 ] || exit 1
    tcpdump -nn -r "$work/capture" >"$work/text" 2>"$work/complaints" || exit 1
    echo "tcpdump: $(wc -l <"$work/text") frames"
    grep -q 'BOOTP/DHCP, Reply' "$work/text" && grep -q 'ICMP echo reply' "$work/text"
    exit
fi

if [ "$mode" = nat ]; then
    port=$((10000 + $$ % 7000))
    names=$((port + 7000)) forward=$((port + 14000))
    command -v dnsmasq >/dev/null || cannot "no dnsmasq"
    dnsmasq --no-daemon --conf-file=/dev/null --port=$names --listen-address=127.0.0.1 --bind-interfaces --no-resolv --no-hosts \
        --address=/files.lab.test/10.11.12.13 >"$work/dnsmasq" 2>&1 &
    jobs="$jobs $!"
    mkdir "$work/served"
    head -c 10000000 "$files/large.bin" >"$work/served/part.bin"
    busybox httpd -f -p 127.0.0.1:$port -h "$work/served" &
    jobs="$jobs $!"
    while sleep 1; do echo "from the host" | busybox nc -w 2 127.0.0.1 $forward; done >/dev/null 2>&1 &
    jobs="$jobs $!"
    nobody=
    if [ "$(id -u)" = 0 ] && setpriv --reuid=65534 --regid=65534 --clear-groups test -r "$initrd" -a -x "$machine" 2>/dev/null; then
        nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
    fi
    sleep 1
    sum=$(sha256sum "$work/served/part.bin" | cut -c1-64)
    guest "$work/one" $nobody "$machine" --nic "nat,host=on,dns=127.0.0.1:$names,forward=tcp:$forward:7" --stats \
        --append "$append,pings=200,nat,port=$port,name=files.lab.test/10.11.12.13 gtfile=part.bin:$sum"
    echo "as user $($nobody id -u)"
    cat "$work/one"
    grep -q '^GUEST-TESTS-PASS' "$work/one"
    exit
fi

ip netns add "$space" 2>"$work/why" || cannot "no network namespace: $(tail -n 1 "$work/why")"
inside="ip netns exec $space"
$inside ip link set lo up
case $mode in
    tap | qemu) interface=tap0 nic=tap=tap0; $inside ip tuntap add tap0 mode tap 2>"$work/why" || cannot "no TAP: $(tail -n 1 "$work/why")" ;;
    wire) interface=near nic=external=far; $inside ip link add near type veth peer name far 2>"$work/why" || cannot "no veth: $(tail -n 1 "$work/why")"; $inside ip link set far up ;;
    *) echo "no mode $mode"; exit 2 ;;
esac
$inside ip addr add 10.9.0.1/24 dev $interface
$inside ip link set $interface up
$inside dnsmasq --no-daemon --conf-file=/dev/null --interface=$interface --bind-dynamic --port=0 \
    --dhcp-range=10.9.0.50,10.9.0.90,1h --dhcp-leasefile="$work/leases" >"$work/dnsmasq" 2>&1 &
jobs="$jobs $!"
$inside busybox httpd -f -p 80 -h "$files" &
jobs="$jobs $!"
sleep 1
sum=$(sha256sum "$files/large.bin" | cut -c1-64)
append="$append,pings=200,updown=2 gtfile=large.bin:$sum"
if [ "$mode" = qemu ]; then
    guest "$work/one" "$append"
else
    guest "$work/one" $inside "$machine" --nic "$nic" --stats --append "$append"
fi
cat "$work/one"
grep -q '^GUEST-TESTS-PASS' "$work/one"
