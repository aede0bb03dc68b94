#!/bin/sh
# Process 1 of the cluster's own network, mount and process namespaces.
# Usage: holder.sh STATE_FOLDER READY_FILE PAUSE_PROGRAM
set -eu
state=$1 ready=$2 pause=$3

mount --make-rprivate /
mount -t proc proc /proc

# A sysfs of this network namespace (its /sys/class/net is ours), with the cgroup mounts carried over.
cgroups=$(mktemp -d)
mount --rbind /sys/fs/cgroup "$cgroups"
mount -t sysfs sysfs /sys
mount --rbind "$cgroups" /sys/fs/cgroup
umount -l "$cgroups"
rmdir "$cgroups"

# Paths that Kubernetes, containerd and CNI plugins have built in, away from the machine's own.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock "$state/cni" "$state/log" "$state/kubelet"
mount --bind "$state/cni" /var/lib/cni
mount --bind "$state/log" /var/log
mount --bind "$state/kubelet" /var/lib/kubelet
mkdir -p /var/log/pods /var/log/containers
mount --make-rshared /

ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter
# Packets between two pods on the bridge must pass the firewall, or network policies would not see them.
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables

touch "$ready"
exec "$pause"
