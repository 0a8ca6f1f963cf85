package main

import (
	"bytes"
	"embed"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

//go:embed config/*.tmpl
var configTemplates embed.FS

// pauseImage is the image of every pod's sandbox, made by ensurePauseImage.
const pauseImage = "agentmarket.local/devcluster/pause:dev"

// settings are the inputs of every configuration file and command line.
type settings struct {
	Layout      Layout
	Cluster     Cluster
	Snapshotter string // overlayfs, or native where overlayfs cannot be mounted
	Runc        string // absolute path of runc
	CNIPlugins  string // folder of ptp, host-local, tuning and loopback
	PauseImage  string
}

// cniFolders are where distributions put the CNI plugins; Debian's is first.
var cniFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// findSettings looks for what the machine provides.
func findSettings(l Layout, c Cluster) (settings, error) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return settings{}, fmt.Errorf("find runc (Debian package runc): %w", err)
	}
	s := settings{Layout: l, Cluster: c, Runc: runc, PauseImage: pauseImage}
	for _, dir := range cniFolders {
		if _, err := exec.LookPath(filepath.Join(dir, "ptp")); err == nil {
			s.CNIPlugins = dir
			break
		}
	}
	if s.CNIPlugins == "" {
		return settings{}, fmt.Errorf("find CNI plugin ptp in %s (Debian package containernetworking-plugins)", strings.Join(cniFolders, ", "))
	}
	for _, tool := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "pause"} {
		if _, err := exec.LookPath(l.Tool(tool)); err != nil {
			return settings{}, fmt.Errorf("find %s beside devcluster (build.sh makes it): %w", tool, err)
		}
	}
	s.Snapshotter, err = chooseSnapshotter(l)
	return s, err
}

// configFiles maps the files of a cluster to their templates.
func configFiles(l Layout) map[string]string {
	return map[string]string{
		l.Etc("containerd.toml"):             "containerd.toml.tmpl",
		l.Etc("certs.d/_default/hosts.toml"): "hosts.toml.tmpl",
		l.Etc("cni/10-ptp.conflist"):         "network.conflist.tmpl",
		l.Etc("kubelet.yaml"):                "kubelet.yaml.tmpl",
		l.Etc("scheduler.yaml"):              "scheduler.yaml.tmpl",
	}
}

func writeConfigs(s settings) error {
	files := configFiles(s.Layout)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		content, err := render(files[path], s)
		if err != nil {
			return err
		}
		if err := writeFile(path, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func render(name string, s settings) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(configTemplates, "config/"+name)
	if err != nil {
		return nil, fmt.Errorf("parse template %s: %w", name, err)
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, s); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return buf.Bytes(), nil
}

// apiserverArgs is the command line of kube-apiserver. It listens on the
// loopback address only: the kubelet is on this machine, too, and pods have no
// business with it.
func apiserverArgs(s settings) []string {
	l, c := s.Layout, s.Cluster
	return []string{
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(c.Ports.APIServer),
		"--advertise-address=" + c.NodeIP,
		"--endpoint-reconciler-type=none",
		"--etcd-servers=https://127.0.0.1:" + strconv.Itoa(c.Ports.EtcdClient),
		"--etcd-cafile=" + l.PKI("etcd-ca.crt"),
		"--etcd-certfile=" + l.PKI("etcd-client.crt"),
		"--etcd-keyfile=" + l.PKI("etcd-client.key"),
		"--tls-cert-file=" + l.PKI("apiserver.crt"),
		"--tls-private-key-file=" + l.PKI("apiserver.key"),
		"--client-ca-file=" + l.PKI("ca.crt"),
		"--anonymous-auth=false",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction,PodSecurity",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + l.PKI("sa.pub"),
		"--service-account-signing-key-file=" + l.PKI("sa.key"),
		"--service-cluster-ip-range=" + serviceCIDR,
		"--kubelet-certificate-authority=" + l.PKI("ca.crt"),
		"--kubelet-client-certificate=" + l.PKI("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + l.PKI("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--event-ttl=1h",
		"--profiling=false",
	}
}

// controllers are the ones that Jobs, their pods and namespaces need.
var controllers = []string{
	"job-controller",
	"garbage-collector-controller",
	"ttl-after-finished-controller",
	"pod-garbage-collector-controller",
	"namespace-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"legacy-serviceaccount-token-cleaner-controller",
	"root-ca-certificate-publisher-controller",
	"clusterrole-aggregation-controller",
	"resourcequota-controller",
	"node-lifecycle-controller",
	"taint-eviction-controller",
}

func controllerManagerArgs(s settings) []string {
	l := s.Layout
	kubeconfig := l.Etc("controller-manager.kubeconfig")
	args := []string{
		"--kubeconfig=" + kubeconfig,
		"--controllers=" + strings.Join(controllers, ","),
		"--service-account-private-key-file=" + l.PKI("sa.key"),
		"--root-ca-file=" + l.PKI("ca.crt"),
		"--use-service-account-credentials=true",
		"--leader-elect=false", // there is one; without a lease its restart is instant
		"--secure-port=0",
		"--node-monitor-period=1s", // lifts the not-ready taint of a node that just became Ready
		"--profiling=false",
	}
	if s.Cluster.DefaultRates {
		return args
	}
	return append(args, "--kube-api-qps=200", "--kube-api-burst=400", "--concurrent-job-syncs=20", "--concurrent-ttl-after-finished-syncs=10")
}

func schedulerArgs(s settings) []string {
	return []string{
		"--config=" + s.Layout.Etc("scheduler.yaml"),
		"--secure-port=0",
	}
}

func kubeletArgs(s settings) []string {
	l, c := s.Layout, s.Cluster
	return []string{
		"--config=" + l.Etc("kubelet.yaml"),
		"--kubeconfig=" + l.Etc("kubelet.kubeconfig"),
		"--hostname-override=" + c.Name,
		"--node-ip=" + c.NodeIP,
		"--root-dir=" + l.KubeletRoot(),
		"--cert-dir=" + l.PKI(""),
	}
}
