package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// The firewall of a cluster is two chains of the filter table. With the CNI
// plugin ptp every packet of a pod is routed by the host, so INPUT and FORWARD see
// all of them, those between two pods of the node included:
//
//	INPUT   ─ from the pods ─▶ AGENTMARKET-ID-IN   answers to the host's own connections: accept
//	                                               gateway's port on the node's address: accept
//	                                               anything else: drop
//	FORWARD ─ from or to the pods ─▶ AGENTMARKET-ID-FWD   drop
//
// That closes the apiserver, the kubelet, other ports of the host, other pods,
// metadata addresses and the internet. IPv6 has no rules because pods have no
// IPv6: the CNI plugin tuning switches it off before a container starts.

// firewallChains are the names of a cluster's chains; iptables allows 28 bytes.
func firewallChains(id string) (in, fwd string) {
	return "AGENTMARKET-" + id + "-IN", "AGENTMARKET-" + id + "-FWD"
}

// firewallRules renders the chains for iptables-restore, which replaces both in
// one step.
func firewallRules(c Cluster) string {
	in, fwd := firewallChains(c.ID)
	return strings.Join([]string{
		"*filter",
		":" + in + " - [0:0]",
		":" + fwd + " - [0:0]",
		"-A " + in + " -m conntrack --ctstate ESTABLISHED -j ACCEPT",
		"-A " + in + " -d " + c.NodeIP + "/32 -p tcp -m tcp --dport " + gatewayPorts(c) + " -j ACCEPT",
		"-A " + in + " -j DROP",
		"-A " + fwd + " -j DROP",
		"COMMIT",
		"",
	}, "\n")
}

// gatewayPorts are the ports that pods reach, as iptables spells them.
func gatewayPorts(c Cluster) string {
	first := strconv.Itoa(c.GatewayPort)
	if c.GatewayPorts <= 1 {
		return first
	}
	return first + ":" + strconv.Itoa(c.GatewayPort+c.GatewayPorts-1)
}

// firewallJumps lead the pods' packets to the chains; each is the arguments
// after -I, -C or -D.
func firewallJumps(c Cluster) [][]string {
	in, fwd := firewallChains(c.ID)
	return [][]string{
		// The machine's own connections to the node's address come from that address,
		// over lo.
		{"INPUT", "-s", c.PodCIDR, "!", "-i", "lo", "-j", in},
		{"FORWARD", "-s", c.PodCIDR, "-j", fwd},
		{"FORWARD", "-d", c.PodCIDR, "-j", fwd},
	}
}

// openFirewall installs the chains and puts the jumps first. It may be called
// again, for other ports or addresses.
func openFirewall(ctx context.Context, c Cluster) error {
	if err := run(ctx, firewallRules(c), "iptables-restore", "-w", "10", "--noflush"); err != nil {
		return fmt.Errorf("install firewall chains: %w", err)
	}
	wanted := firewallJumps(c)
	for _, jump := range wanted {
		if run(ctx, "", "iptables", append([]string{"-w", "10", "-C"}, jump...)...) == nil {
			continue
		}
		if err := run(ctx, "", "iptables", append([]string{"-w", "10", "-I"}, jump...)...); err != nil {
			return fmt.Errorf("install firewall jump: %w", err)
		}
	}
	return removeJumps(ctx, c.ID, wanted)
}

// closeFirewall removes every trace of the cluster's chains.
func closeFirewall(ctx context.Context, id string) error {
	if err := removeJumps(ctx, id, nil); err != nil {
		return err
	}
	in, fwd := firewallChains(id)
	for _, chain := range []string{in, fwd} {
		if run(ctx, "", "iptables", "-w", "10", "-S", chain) != nil {
			continue // there is none
		}
		for _, step := range []string{"-F", "-X"} {
			if err := run(ctx, "", "iptables", "-w", "10", step, chain); err != nil {
				return fmt.Errorf("remove firewall chain: %w", err)
			}
		}
	}
	return nil
}

// removeJumps deletes the jumps to the cluster's chains that are not wanted, for
// example those of an earlier pod range.
func removeJumps(ctx context.Context, id string, keep [][]string) error {
	for _, chain := range []string{"INPUT", "FORWARD"} {
		out, err := exec.CommandContext(ctx, "iptables", "-w", "10", "-S", chain).Output()
		if err != nil {
			return fmt.Errorf("list firewall chain %s: %w", chain, err)
		}
		for _, jump := range staleJumps(string(out), id, keep) {
			if err := run(ctx, "", "iptables", append([]string{"-w", "10", "-D"}, jump...)...); err != nil {
				return fmt.Errorf("remove firewall jump: %w", err)
			}
		}
	}
	return nil
}

// staleJumps picks from the output of iptables -S the cluster's jumps that are
// not to be kept.
func staleJumps(listing, id string, keep [][]string) [][]string {
	in, fwd := firewallChains(id)
	kept := map[string]bool{}
	for _, jump := range keep {
		kept[strings.Join(jump, " ")] = true
	}
	var stale [][]string
	for line := range strings.Lines(listing) {
		rule, ok := strings.CutPrefix(strings.TrimSpace(line), "-A ")
		if !ok || !(strings.HasSuffix(rule, "-j "+in) || strings.HasSuffix(rule, "-j "+fwd)) || kept[rule] {
			continue
		}
		stale = append(stale, strings.Fields(rule))
	}
	return stale
}

// run executes a program of the system with the given standard input; its
// output is in the error.
func run(ctx context.Context, stdin, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
