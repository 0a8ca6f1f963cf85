package main

import (
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// etcdConfig is a single member on the loopback address. Its certificates keep
// other users of the machine out: etcd holds every Secret in clear text.
func etcdConfig(s settings) *embed.Config {
	l, ports := s.Layout, s.Cluster.Ports
	client := url.URL{Scheme: "https", Host: "127.0.0.1:" + strconv.Itoa(ports.EtcdClient)}
	peer := url.URL{Scheme: "https", Host: "127.0.0.1:" + strconv.Itoa(ports.EtcdPeer)}
	tls := transport.TLSInfo{
		CertFile:       l.PKI("etcd.crt"),
		KeyFile:        l.PKI("etcd.key"),
		TrustedCAFile:  l.PKI("etcd-ca.crt"),
		ClientCertAuth: true,
	}

	cfg := embed.NewConfig()
	cfg.Name = "devcluster"
	cfg.Dir = l.EtcdData()
	cfg.ListenClientUrls = []url.URL{client}
	cfg.AdvertiseClientUrls = []url.URL{client}
	cfg.ListenPeerUrls = []url.URL{peer}
	cfg.AdvertisePeerUrls = []url.URL{peer}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.ClientTLSInfo = tls
	cfg.PeerTLSInfo = tls
	cfg.LogLevel = "warn"
	// Written data survive kill -9 of every process in the kernel's page cache; only
	// a crash of the machine loses them. Slow disks of CI machines would otherwise
	// hold every write for the length of an fsync.
	cfg.UnsafeNoFsync = true
	// NewConfig leaves it at zero, and every request would be logged as slow.
	cfg.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	cfg.AutoCompactionMode = "periodic"
	cfg.AutoCompactionRetention = "5m"
	return cfg
}

// runEtcd runs etcd until it fails or is told to end.
func runEtcd(s settings) error {
	server, err := embed.StartEtcd(etcdConfig(s))
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer server.Close()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-end:
		return nil
	case err := <-server.Err():
		return fmt.Errorf("serve etcd: %w", err)
	case <-server.Server.StopNotify():
		return fmt.Errorf("serve etcd: stopped by itself")
	}
}
