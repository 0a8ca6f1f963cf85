//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"agentmarket/agentruntime"
)

// began is the first instruction of this program, nearly: packages are initialized before main.
var began = time.Now()

const (
	probeAgain   = 100 * time.Millisecond // between two tries at a target
	probeConnect = 1500 * time.Millisecond
	probeTargets = 64
)

// probe attacks from its first instruction on, and reports in lines of the log. It ends
// by writing more than it may: who watches it sees how that ends.
func probe(args []string, stdout, stderr io.Writer) agentruntime.ExitCode {
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var targets []agentruntime.ProbeTarget
	flags.Func("target", "NAME,tcp|udp,HOST:PORT to attack", func(text string) error {
		t, err := parseTarget(text)
		if targets = append(targets, t); len(targets) > probeTargets {
			return errors.New("too many targets")
		}
		return err
	})
	length := flags.Duration("for", 5*time.Second, "how long targets are attacked")
	fill := flags.Int64("fill", 0, "bytes to write in the end")
	if err := flags.Parse(args); err != nil {
		return agentruntime.ExitPlatform
	}
	targets = append(targets, linkTargets()...)
	probed := make([]agentruntime.ProbedTarget, len(targets))
	var group sync.WaitGroup
	for i, t := range targets {
		group.Go(func() { probed[i] = attack(t, *length) })
	}
	identity := identify() // while the network is attacked
	group.Wait()
	say := func(r agentruntime.ProbeReport) {
		if text, err := json.Marshal(r); err == nil {
			fmt.Fprintf(stdout, "%s%s\n", agentruntime.ProbeMark, text)
		}
	}
	say(agentruntime.ProbeReport{Targets: probed, Identity: &identity})
	processes := startProcesses()
	say(agentruntime.ProbeReport{Processes: &processes})
	if *fill > 0 {
		fillDisk(*fill)
		say(agentruntime.ProbeReport{Survived: true})
	}
	return agentruntime.ExitOK
}

func parseTarget(text string) (agentruntime.ProbeTarget, error) {
	parts := strings.Split(text, ",")
	if len(parts) != 3 || parts[1] != "tcp" && parts[1] != "udp" {
		return agentruntime.ProbeTarget{}, fmt.Errorf("%q is no target", text)
	}
	_, _, err := net.SplitHostPort(parts[2])
	return agentruntime.ProbeTarget{Name: parts[0], Network: parts[1], Address: parts[2]}, err
}

// attack tries to reach a target again and again. Tries overlap, so that a packet that
// is dropped does not hide a window that opens while it is waited for.
func attack(t agentruntime.ProbeTarget, length time.Duration) agentruntime.ProbedTarget {
	p := agentruntime.ProbedTarget{ProbeTarget: t, FirstTry: -1}
	var mu sync.Mutex
	var tries sync.WaitGroup
	tick := time.NewTicker(probeAgain)
	defer tick.Stop()
	for {
		at := time.Since(began).Milliseconds()
		if p.Tries++; p.FirstTry < 0 {
			p.FirstTry = at
		}
		p.LastTry = at
		tries.Go(func() {
			if !reach(t) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			now := max(1, time.Since(began).Milliseconds())
			if p.Reached++; p.FirstReached == 0 {
				p.FirstReached = now
			}
			p.LastReached = max(p.LastReached, now)
		})
		if time.Since(began) >= length {
			break
		}
		<-tick.C
	}
	tries.Wait()
	return p
}

// question asks a name server for the addresses of the root, whose name is no longer than it must be.
var question = []byte{0x17, 0x2a, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1}

// reach reports whether a target answers. A connection that is refused did not reach
// anybody.
func reach(t agentruntime.ProbeTarget) bool {
	dialer := net.Dialer{Timeout: probeConnect}
	conn, err := dialer.DialContext(context.Background(), t.Network, t.Address)
	if err != nil {
		return false
	}
	defer conn.Close()
	if t.Network == "tcp" {
		return true
	}
	_ = conn.SetDeadline(time.Now().Add(probeConnect))
	if _, err := conn.Write(question); err != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 512))
	return err == nil && n > 0
}

// linkTargets are on the node that the pod is on: what its routes lead through.
func linkTargets() (targets []agentruntime.ProbeTarget) {
	routes, _ := os.ReadFile("/proc/net/route")
	gateway := defaultRoute(string(routes))
	if gateway == "" {
		return nil
	}
	for _, port := range []struct{ name, network, port string }{
		{"kubelet", "tcp", "10250"}, {"kubelet (read-only)", "tcp", "10255"}, {"ssh", "tcp", "22"},
		{"API server", "tcp", "6443"}, {"etcd", "tcp", "2379"}, {"DNS", "udp", "53"},
	} {
		targets = append(targets, agentruntime.ProbeTarget{
			Name: port.name + " of the node", Network: port.network, Address: net.JoinHostPort(gateway, port.port),
		})
	}
	return targets
}

// defaultRoute reads the default route of /proc/net/route: its address is hexadecimal, the
// last byte first.
func defaultRoute(routes string) string {
	for line := range strings.Lines(routes) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[1] != "00000000" || len(fields[2]) != 8 {
			continue
		}
		var b [4]byte
		if _, err := fmt.Sscanf(fields[2], "%02x%02x%02x%02x", &b[3], &b[2], &b[1], &b[0]); err == nil {
			return net.IP(b[:]).String()
		}
	}
	return ""
}
