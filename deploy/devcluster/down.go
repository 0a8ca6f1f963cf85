package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	podGraceSeconds = 2                // what a pod has between SIGTERM and SIGKILL at down
	podStopTimeout  = 60 * time.Second // for all pods; after it they are killed
)

// down ends a cluster and removes what it added to the machine, from whatever
// state it is in. The state folder stays unless purge is set.
func down(ctx context.Context, l Layout, purge bool, p *progress) error {
	if _, err := os.Stat(l.State); errors.Is(err, os.ErrNotExist) {
		p.step("no cluster in %s", l.State)
		return nil
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
	if !known {
		p.step("no cluster in %s", l.State)
		return nil
	}
	if err := stopProcesses(ctx, l, p); err != nil {
		return err
	}
	if err := cleanMachine(ctx, l, c); err != nil {
		return err
	}
	p.step("cluster %s down, nothing of it is left on the machine", c.Name)
	if !purge {
		return nil
	}
	if err := purgeState(l); err != nil {
		return err
	}
	p.step("removed %s", l.State)
	return nil
}

// stopProcesses ends first those that start pods, then the pods, then the rest.
// Each step works without the ones before: the supervisor or containerd may have
// been killed.
func stopProcesses(ctx context.Context, l Layout, p *progress) error {
	supervisor := newControl(l)
	_, absent := supervisor.status(ctx)
	if absent == nil {
		if err := supervisor.stop(ctx, "kubelet", "kube-scheduler", "kube-controller-manager"); err != nil {
			return err
		}
	} else {
		all, err := clusterProcesses(l.ID)
		if err != nil {
			return err
		}
		others := slices.DeleteFunc(all, func(p process) bool { return p.isShim() || p.name == "containerd" })
		if err := killProcesses(others, 10*time.Second); err != nil {
			return err
		}
	}
	if runtimeReady(ctx, l) == nil {
		stopCtx, cancel := context.WithTimeout(ctx, podStopTimeout)
		defer cancel()
		stopped, err := stopPods(stopCtx, l, podGraceSeconds)
		if err != nil {
			p.step("pods are killed, not all of them could be stopped: %v", err)
		} else {
			p.step("stopped %d pods", stopped)
		}
	}
	if absent == nil {
		if err := supervisor.stop(ctx); err != nil {
			return err
		}
	}
	// The supervisor needs a moment to end after its answer.
	deadline := time.Now().Add(3 * time.Second)
	for {
		rest, err := clusterProcesses(l.ID)
		if err != nil {
			return err
		}
		if len(rest) == 0 {
			return nil
		}
		if time.Now().After(deadline) || absent != nil {
			return killProcesses(rest, 10*time.Second)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of the processes: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// cleanMachine removes what the processes left, in the order in which one thing
// holds another.
func cleanMachine(ctx context.Context, l Layout, c Cluster) error {
	ctx = context.WithoutCancel(ctx) // every step ends soon, and half of them would leave a mess
	if err := removeCgroup(l.CgroupRoot()); err != nil {
		return err
	}
	// The kubelet makes a mount of its root folder, too, so what counts is the folder
	// that the root is in.
	if err := unmountBelow(l.Run, l.State, filepath.Dir(l.KubeletRoot())); err != nil {
		return err
	}
	// The firewall goes after the last pod's network, so that no pod is ever open.
	if err := awaitNoVeths(ctx, c, 10*time.Second); err != nil {
		return err
	}
	if err := closeFirewall(ctx, c.ID); err != nil {
		return err
	}
	if err := removeNodeAddress(ctx, c.ID); err != nil {
		return err
	}
	if err := removeStrayFiles(l); err != nil {
		return err
	}
	unlock, err := lockFile(filepath.Join(runRoot, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.RemoveAll(l.Run); err != nil {
		return fmt.Errorf("remove run folder: %w", err)
	}
	return errors.Join(removeDeviceSocket(ctx), restoreSysctls())
}

// deviceSocket is where a kubelet waits for device plugins; no option moves it.
const deviceSocket = "/var/lib/kubelet/device-plugins/kubelet.sock"

// removeDeviceSocket removes the socket file unless a kubelet answers there.
func removeDeviceSocket(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", deviceSocket)
	if err == nil {
		return conn.Close()
	}
	if err := os.Remove(deviceSocket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove device plugin socket: %w", err)
	}
	return nil
}

// removeStrayFiles removes what components leave in folders that no option moves.
func removeStrayFiles(l Layout) error {
	cached, err := filepath.Glob("/var/lib/cni/results/" + l.NetworkName() + "-*")
	if err != nil {
		return fmt.Errorf("list network cache: %w", err)
	}
	links, err := filepath.Glob("/var/log/containers/*.log")
	if err != nil {
		return fmt.Errorf("list container logs: %w", err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, l.PodLogs()+"/") {
			cached = append(cached, link)
		}
	}
	for _, file := range cached {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove stray file: %w", err)
		}
	}
	return nil
}

// purgeState removes what a cluster made in its state folder, and the folder when
// nothing else is in it.
func purgeState(l Layout) error {
	for _, name := range []string{"cluster.json", "containerd", "etc", "etcd", "kubeconfig", "kubelet", "lock", "logs", "pki", "pods", "supervisor.pid"} {
		if err := os.RemoveAll(filepath.Join(l.State, name)); err != nil {
			return fmt.Errorf("remove state: %w", err)
		}
	}
	if err := os.RemoveAll(filepath.Join(longStateRoot, l.ID)); err != nil {
		return fmt.Errorf("remove state: %w", err)
	}
	_ = os.Remove(longStateRoot) // fails where other clusters use it
	if err := os.Remove(l.State); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove state folder: %w", err)
	}
	return nil
}
