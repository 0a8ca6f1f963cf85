package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"
)

// componentOrder is the order in which the components become ready.
var componentOrder = []string{
	"etcd", "containerd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet",
}

func startOrder(name string) int { return slices.Index(componentOrder, name) }

// clusterComponents lists the processes of a cluster with their needs.
func clusterComponents(s settings) []component {
	self := s.Layout.Executable()
	state := "--state=" + s.Layout.State
	return []component{
		{
			name:  "etcd",
			argv:  []string{self, "etcd", state},
			ready: dialable("tcp", local(s.Cluster.Ports.EtcdClient)),
		},
		{
			name:  "containerd",
			argv:  []string{s.Layout.Tool("containerd"), "--config", s.Layout.Etc("containerd.toml")},
			ready: func(ctx context.Context) error { return runtimeReady(ctx, s.Layout) },
		},
		{
			name:  "kube-apiserver",
			argv:  append([]string{self, "kube-apiserver"}, apiserverArgs(s)...),
			after: []string{"etcd"},
			ready: apiserverReady(s),
		},
		{
			name:  "kube-controller-manager",
			argv:  append([]string{self, "kube-controller-manager"}, controllerManagerArgs(s)...),
			after: []string{"kube-apiserver"},
			ready: stable(),
		},
		{
			name:  "kube-scheduler",
			argv:  append([]string{self, "kube-scheduler"}, schedulerArgs(s)...),
			after: []string{"kube-apiserver"},
			ready: stable(),
		},
		{
			name:    "kubelet",
			argv:    append([]string{self, "kubelet"}, kubeletArgs(s)...),
			after:   []string{"kube-apiserver", "containerd"},
			prepare: func(ctx context.Context) error { return prepareKubelet(ctx, s) },
			ready:   dialable("tcp", net.JoinHostPort(s.Cluster.NodeIP, strconv.Itoa(s.Cluster.Ports.Kubelet))),
		},
	}
}

// prepareKubelet provides what the kubelet takes for granted.
func prepareKubelet(ctx context.Context, s settings) error {
	if err := makeCgroup(s.Layout.CgroupRoot()); err != nil {
		return err
	}
	return ensurePauseImage(ctx, s)
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// dialable is ready once a connection is accepted.
func dialable(network, address string) func(context.Context) error {
	return func(ctx context.Context) error {
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return fmt.Errorf("dial %s: %w", address, err)
		}
		return conn.Close()
	}
}

// stable is for processes that listen nowhere (their ports are closed to save
// memory and ports): they are ready when the apiserver they need is, and are
// restarted if they end.
func stable() func(context.Context) error {
	return func(context.Context) error { return nil }
}

// apiserverReady asks /readyz as the admin.
func apiserverReady(s settings) func(context.Context) error {
	return func(ctx context.Context) error {
		client, err := apiserverHTTP(s.Layout)
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Cluster.URL()+"/readyz", nil)
		if err != nil {
			return fmt.Errorf("build readiness request: %w", err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("ask apiserver: %w", err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("ask apiserver: status %d", resp.StatusCode)
		}
		return nil
	}
}

func apiserverHTTP(l Layout) (*http.Client, error) {
	cert, err := tls.LoadX509KeyPair(l.PKI("admin.crt"), l.PKI("admin.key"))
	if err != nil {
		return nil, fmt.Errorf("load admin certificate: %w", err)
	}
	ca, err := os.ReadFile(l.PKI("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}},
	}, nil
}
