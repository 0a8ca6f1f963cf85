package egress

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/product"
	"agentmarket/publicnet"
)

const (
	resolveTimeout = 5 * time.Second
	connectTimeout = 4 * time.Second
	// maxAnswers bounds the addresses of a name that are looked at, maxTries those that
	// are connected to.
	maxAnswers = 16
	maxTries   = 3
)

// Resolver asks DNS for the addresses of hosts, as they are, without search domains. The
// zero server is the system's.
func Resolver(server netip.AddrPort) func(ctx context.Context, host string) ([]netip.Addr, error) {
	resolver := &net.Resolver{PreferGo: true}
	if server.IsValid() {
		resolver.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.String())
		}
	}
	return func(ctx context.Context, host string) ([]netip.Addr, error) {
		return resolver.LookupNetIP(ctx, "ip", host+".")
	}
}

// dial connects to the target of a request, if it is granted and public. The record says
// what became of it.
func (t *tunnel) dial(ctx context.Context, target string) (net.Conn, error) {
	r := &t.record
	var err error
	if r.Host, r.Port, err = parseTarget(target); err != nil {
		r.Outcome, r.Target = TargetInvalid, shown(target)
		return nil, err
	}
	if !product.GrantsHost(t.session.Hosts, r.Host, r.Port) {
		r.Outcome = NotGranted
		return nil, fault.Newf(fault.Forbidden, "egress_not_granted", "the run is not granted %s:%d", r.Host, r.Port)
	}
	addresses, err := t.resolve(ctx, r.Host)
	if err != nil || len(addresses) == 0 {
		r.Outcome = Unresolved
		return nil, fault.Newf(fault.NotFound, "egress_unresolved", "%s has no address, or nobody says which", r.Host)
	}
	r.Address = addresses[0]
	addresses = slices.DeleteFunc(addresses, func(a netip.Addr) bool { return !t.reachable(a) })
	if len(addresses) == 0 {
		r.Outcome = NotPublic
		return nil, fault.Newf(fault.Forbidden, "egress_not_public", "%s has no public address", r.Host)
	}
	for _, address := range addresses[:min(len(addresses), maxTries)] {
		r.Address = address
		conn, err := dialAddress(ctx, netip.AddrPortFrom(address, r.Port))
		if err == nil {
			return conn, nil
		}
	}
	r.Outcome = Unreachable
	return nil, fault.Newf(fault.NotFound, "egress_unreachable", "%s:%d does not answer", r.Host, r.Port)
}

// resolve returns the first addresses of a host.
func (t *tunnel) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	answers, err := t.Resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	var addresses []netip.Addr
	for _, a := range answers[:min(len(answers), maxAnswers)] {
		addresses = append(addresses, a.Unmap())
	}
	return addresses, nil
}

// reachable reports whether an address may be connected to. One with a zone is of a link.
func (t *tunnel) reachable(address netip.Addr) bool {
	if slices.ContainsFunc(t.Allowed, func(p netip.Prefix) bool { return p.Contains(address) }) {
		return true
	}
	return address.Zone() == "" && publicnet.Outside(address, t.Private)
}

func dialAddress(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	return (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "tcp", address.String())
}
