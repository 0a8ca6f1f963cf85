package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// upTimeout bounds the wait for a cluster; a first up on a slow machine with a
// cold disk takes about a tenth of it.
const upTimeout = 3 * time.Minute

// upOptions are the flags of up; zero values keep what the cluster remembers.
type upOptions struct {
	name        string
	gatewayPort int
	// gatewayPorts is how many ports from gatewayPort on are open.
	gatewayPorts int
	// defaultRates: see Cluster.
	defaultRates bool
}

// up brings a cluster to where pods run, from whatever state it is in: never
// started, stopped, killed half-way, or running.
func up(ctx context.Context, l Layout, o upOptions, p *progress) error {
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	if unix.Geteuid() != 0 {
		return errors.New("start cluster: root is needed (containers, cgroups, firewall); use an existing cluster with KUBE_CONTEXT=<context> instead")
	}
	unlock, err := lockFile(l.LockFile())
	if err != nil {
		return err
	}
	defer unlock()

	c, known, err := loadCluster(l.ClusterFile())
	if err != nil {
		return err
	}
	c, err = o.apply(c, l, known)
	if err != nil {
		return err
	}
	if st, err := newControl(l).status(ctx); err == nil {
		p.step("cluster %s is running (supervisor pid %d)", c.Name, st.PID)
		if err := errors.Join(c.save(l), openFirewall(ctx, c)); err != nil {
			return err
		}
		return awaitCluster(ctx, l, c, p, false)
	}
	if err := killRemains(l, p); err != nil {
		return err
	}
	if c, err = prepareCluster(ctx, l, c, p); err != nil {
		return err
	}
	if err := spawnSupervisor(ctx, l); err != nil {
		return err
	}
	if err := awaitCluster(ctx, l, c, p, !c.Proven); err != nil || c.Proven {
		return err
	}
	c.Proven = true
	return c.save(l)
}

// apply merges the flags with what the cluster remembers.
func (o upOptions) apply(c Cluster, l Layout, known bool) (Cluster, error) {
	c.ID, c.State = l.ID, l.State
	if known && o.name != "" && o.name != c.Name {
		return Cluster{}, fmt.Errorf("start cluster: it is named %q; 'devcluster down --purge' comes before another name", c.Name)
	}
	if c.Name == "" {
		c.Name = o.name
	}
	if c.Name == "" {
		c.Name = defaultName
	}
	c.DefaultRates = o.defaultRates
	if o.gatewayPorts != 0 {
		c.GatewayPorts = o.gatewayPorts
	}
	if o.gatewayPort != 0 {
		c.GatewayPort = o.gatewayPort
	}
	if c.GatewayPort == 0 {
		c.GatewayPort = defaultGateway
	}
	return c, nil
}

// killRemains ends the components of a cluster whose supervisor is gone. Shims
// stay: containerd finds them again, and their pods go on running.
func killRemains(l Layout, p *progress) error {
	all, err := clusterProcesses(l.ID)
	if err != nil {
		return err
	}
	remains := slices.DeleteFunc(slices.Clone(all), process.isShim)
	if len(remains) > 0 {
		if err := killProcesses(remains, 10*time.Second); err != nil {
			return err
		}
		p.step("ended %d processes of a killed predecessor", len(remains))
	}
	if shims := len(all) - len(remains); shims > 0 {
		p.step("kept %d pods that survived their supervisor", shims)
	}
	return nil
}

// prepareCluster chooses addresses and puts everything in place that the
// components expect, the firewall before anything that could start a pod.
func prepareCluster(ctx context.Context, l Layout, c Cluster, p *progress) (Cluster, error) {
	// One cluster of the machine chooses at a time.
	unlock, err := lockFile(filepath.Join(runRoot, "lock"))
	if err != nil {
		return Cluster{}, err
	}
	defer unlock()
	m, err := observeMachine(c)
	if err != nil {
		return Cluster{}, err
	}
	if c, err = planAddresses(c, m); err != nil {
		return Cluster{}, err
	}
	if err := l.makeFolders(); err != nil {
		return Cluster{}, err
	}
	s, err := findSettings(l, c)
	if err != nil {
		return Cluster{}, err
	}
	if err := recordSysctls(); err != nil {
		return Cluster{}, err
	}
	err = errors.Join(
		c.save(l),
		ensurePKI(l, c, time.Now()),
		writeKubeconfigs(l, c),
		writeConfigs(s),
	)
	if err != nil {
		return Cluster{}, err
	}
	if err := openFirewall(ctx, c); err != nil {
		return Cluster{}, err
	}
	if err := addNodeAddress(ctx, c); err != nil {
		return Cluster{}, err
	}
	p.step("node %s at %s, pods in %s, gateway port %d open to them", c.Name, c.NodeIP, c.PodCIDR, c.GatewayPort)
	return c, nil
}

// awaitCluster prints each component as it becomes ready, then waits for the
// node and, with smoke, runs a pod.
func awaitCluster(ctx context.Context, l Layout, c Cluster, p *progress, smoke bool) error {
	if err := awaitComponents(ctx, l, p); err != nil {
		return err
	}
	client, err := adminClient(l)
	if err != nil {
		return err
	}
	if err := awaitNode(ctx, client, c.Name); err != nil {
		return fmt.Errorf("%w\n%s", err, lastLines(l.Log("kubelet"), 15))
	}
	p.step("node Ready")
	if smoke {
		took, err := runSmokePod(ctx, client)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, lastLines(l.Log("kubelet"), 15))
		}
		p.step("smoke pod succeeded in %.1fs", took.Seconds())
	}
	p.step("cluster up: export KUBECONFIG=%s", l.Kubeconfig())
	return nil
}

func awaitComponents(ctx context.Context, l Layout, p *progress) error {
	shown := map[string]bool{}
	for {
		st, err := newControl(l).status(ctx)
		if err != nil {
			return fmt.Errorf("wait for components: %w", err)
		}
		var missing []status
		for _, c := range st.Components {
			switch {
			case c.Phase != phaseReady:
				missing = append(missing, c)
			case !shown[c.Name]:
				shown[c.Name] = true
				p.step("%s ready", c.Name)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			first := missing[0]
			return fmt.Errorf("wait for %s: still %s (%s); last lines of %s:\n%s",
				first.Name, first.Phase, first.Error, l.Log(first.Name), lastLines(l.Log(first.Name), 15))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// lastLines is the end of a log, for an error message.
func lastLines(file string, n int) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-n):], "\n  ")
}
