package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// machine is what the choice of addresses and ports has to avoid.
type machine struct {
	prefixes []netip.Prefix                      // networks of the machine's interfaces
	others   []Cluster                           // other clusters, running or killed
	portFree func(address string, port int) bool // can this port be bound now?
}

// observeMachine reads what is taken on the machine, not counting what the
// cluster itself holds.
func observeMachine(self Cluster) (machine, error) {
	all, err := hostPrefixes()
	if err != nil {
		return machine{}, err
	}
	m := machine{portFree: canListen}
	own, ownErr := netip.ParsePrefix(self.PodCIDR)
	running, err := runningClusters()
	if err != nil {
		return machine{}, err
	}
	selfRuns := false
	for _, c := range running {
		if c.ID == self.ID {
			selfRuns = true
			continue
		}
		m.others = append(m.others, c)
	}
	for _, p := range all {
		// A killed cluster's address and veths are still there and are its own.
		if selfRuns && ownErr == nil && own.Contains(p.Addr()) && p.IsSingleIP() {
			continue
		}
		m.prefixes = append(m.prefixes, p)
	}
	return m, nil
}

func canListen(address string, port int) bool {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// planAddresses completes a cluster's pod range and ports. What the cluster
// remembers is kept where it is still free, so that kubeconfigs stay valid; the
// rest is chosen from its ID, so that a checkout tends to get the same again.
func planAddresses(c Cluster, m machine) (Cluster, error) {
	seed, err := strconv.ParseUint(c.ID, 16, 32)
	if err != nil {
		return Cluster{}, fmt.Errorf("parse cluster id %q: %w", c.ID, err)
	}
	cidr, err := planPodCIDR(c.PodCIDR, seed, m)
	if err != nil {
		return Cluster{}, err
	}
	c.PodCIDR = cidr.String()
	c.NodeIP = cidr.Addr().Next().String()

	taken := map[int]bool{}
	for i := range max(1, c.GatewayPorts) {
		taken[c.GatewayPort+i] = true
	}
	for _, other := range m.others {
		for _, p := range other.Ports.all() {
			taken[*p] = true
		}
	}
	next := portSearchFrom + int(seed%portSearchWidth)
	for _, p := range c.Ports.all() {
		for tries := 0; *p == 0 || taken[*p] || !m.portFree("", *p); tries++ {
			if tries > portSearchWidth {
				return Cluster{}, fmt.Errorf("no free port from %d to %d", portSearchFrom, portSearchFrom+portSearchWidth)
			}
			*p = next
			next = portSearchFrom + (next-portSearchFrom+1)%portSearchWidth
		}
		taken[*p] = true
	}
	return c, nil
}

// planPodCIDR keeps the remembered range or searches a free one.
func planPodCIDR(remembered string, seed uint64, m machine) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(remembered); err == nil && cidrFree(p, m) {
		return p, nil
	}
	const nets = (lastPodCIDRByte - firstPodCIDRByte + 1) * 256
	for i := range uint64(nets) {
		n := (seed + i) % nets
		addr := netip.AddrFrom4([4]byte{10, byte(firstPodCIDRByte + n/256), byte(n % 256), 0})
		if p := netip.PrefixFrom(addr, 24); cidrFree(p, m) {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("no free /24 in 10.%d.0.0 to 10.%d.255.255 for the pods", firstPodCIDRByte, lastPodCIDRByte)
}

func cidrFree(p netip.Prefix, m machine) bool {
	for _, taken := range m.prefixes {
		if taken.Overlaps(p) {
			return false
		}
	}
	for _, other := range m.others {
		if taken, err := netip.ParsePrefix(other.PodCIDR); err == nil && taken.Overlaps(p) {
			return false
		}
	}
	return true
}

// all lists the ports in a fixed order, for choosing.
func (p *Ports) all() []*int {
	return []*int{&p.APIServer, &p.EtcdClient, &p.EtcdPeer, &p.Kubelet, &p.Registry}
}
