package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
)

// Cluster is what a cluster remembers of itself, in STATE/cluster.json. A copy
// is in its run folder while it runs, so that other clusters of the machine can
// see what is taken.
type Cluster struct {
	ID          string `json:"id"`
	State       string `json:"state"`        // absolute path of the state folder
	Name        string `json:"name"`         // name of the node, the kubeconfig's context is agentmarket-NAME
	PodCIDR     string `json:"pod_cidr"`     // a /24 in 10.88.0.0/16 to 10.99.0.0/16
	NodeIP      string `json:"node_ip"`      // first address of PodCIDR
	GatewayPort int    `json:"gateway_port"` // the one port of NodeIP that pods reach
	// GatewayPorts is how many ports from GatewayPort on pods reach: more than one where
	// several platforms share the cluster. 0 is 1.
	GatewayPorts int   `json:"gateway_ports,omitempty"`
	Ports        Ports `json:"ports"`
	// DefaultRates leaves the controllers at the rates that Kubernetes ships with:
	// 20 requests a second each, and 5 Jobs at a time.
	DefaultRates bool `json:"default_rates,omitempty"`

	// Proven says that a pod has run to its end in this cluster. Only the first
	// start takes the time to try one.
	Proven bool `json:"proven,omitempty"`
}

// Ports are the TCP ports of the components. Kubelet's is on NodeIP, the others
// are on 127.0.0.1.
type Ports struct {
	APIServer  int `json:"apiserver"`
	EtcdClient int `json:"etcd_client"`
	EtcdPeer   int `json:"etcd_peer"`
	Kubelet    int `json:"kubelet"`
	Registry   int `json:"registry"` // answers every pull with "not found", see registry.go
}

const (
	// serviceCIDR is never routed (there is no kube-proxy); it only has to stay
	// away from the pod ranges.
	serviceCIDR      = "10.111.0.0/20"
	serviceFirstIP   = "10.111.0.1"
	defaultName      = "dev"
	defaultGateway   = 3100
	portSearchFrom   = 20000 // below 32768, where Linux takes ports for outgoing connections
	portSearchWidth  = 12000
	firstPodCIDRByte = 88
	lastPodCIDRByte  = 99
)

// URL is the address of the apiserver for clients on this machine.
func (c Cluster) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", c.Ports.APIServer) }

// Context is the name of the context in the admin's kubeconfig.
func (c Cluster) Context() string { return "agentmarket-" + c.Name }

// loadCluster reads a cluster's file; ok is false where there is none.
func loadCluster(path string) (c Cluster, ok bool, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Cluster{}, false, nil
	}
	if err != nil {
		return Cluster{}, false, fmt.Errorf("read cluster file: %w", err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return Cluster{}, false, fmt.Errorf("decode cluster file %s: %w", path, err)
	}
	return c, true, nil
}

// save writes the cluster's file and its copy in the run folder.
func (c Cluster) save(l Layout) error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode cluster: %w", err)
	}
	for _, path := range []string{l.ClusterFile(), l.RunningClusterFile()} {
		if err := writeFile(path, append(raw, '\n'), 0o644); err != nil {
			return fmt.Errorf("write cluster file: %w", err)
		}
	}
	return nil
}

// runningClusters reads the clusters of the machine that are up or were killed.
func runningClusters() ([]Cluster, error) {
	paths, err := filepath.Glob(filepath.Join(runRoot, "*", "cluster.json"))
	if err != nil {
		return nil, fmt.Errorf("list run folders: %w", err)
	}
	var found []Cluster
	for _, path := range paths {
		c, ok, err := loadCluster(path)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, c)
		}
	}
	return found, nil
}

// requireCluster loads the cluster of a command that needs an existing one.
func requireCluster(l Layout) (Cluster, error) {
	c, ok, err := loadCluster(l.ClusterFile())
	if err != nil {
		return Cluster{}, err
	}
	if !ok {
		return Cluster{}, fmt.Errorf("no cluster in %s: start one with 'devcluster up --state %s'", l.State, l.State)
	}
	return c, nil
}

// hostPrefixes lists the networks of the machine's interfaces.
func hostPrefixes() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list interface addresses: %w", err)
	}
	var prefixes []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			prefixes = append(prefixes, p.Masked())
		}
	}
	return prefixes, nil
}

// writeFile replaces a file in one step, so that a crash never leaves half a file.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("create temporary file: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", tmp.Name(), err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
}
