package kube

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
)

const (
	probeStart   = 90 * time.Second // until its pod runs
	probeRun     = 2 * time.Minute
	probeDiskMiB = 16
	probeLook    = time.Second
	maxProbeLog  = 1 << 20
	// maxProbedNodes bounds the nodes of which a probe is given the addresses.
	maxProbedNodes = 8
)

// Doctor is infra.Doctor on a real API server. Its probe is the supervisor's image, in a
// pod that is rendered as those of runs are. What a killed doctor leaves is an attempt of
// a run that nobody knows, which the reconciliation removes.
type Doctor struct {
	client  kubernetes.Interface
	cluster *Cluster
	cfg     Config
	server  string // the API server; empty: not known
	// Attack are more addresses to attack, for tests.
	Attack []agentruntime.ProbeTarget

	probe func(ctx context.Context, sandboxed, namespaced bool) (infra.Examination, error)
}

var _ infra.Doctor = (*Doctor)(nil)

// NewDoctor returns the adapter. server is the address of the API server as pods would
// reach it, HOST:PORT; empty: it is not known.
func NewDoctor(client kubernetes.Interface, cluster *Cluster, cfg Config, server string) *Doctor {
	d := &Doctor{client: client, cluster: cluster, cfg: cfg, server: server}
	d.probe = d.examinePod
	return d
}

// Tiers implements infra.Doctor.
func (d *Doctor) Tiers() []bool {
	if d.cfg.SandboxRuntimeClass == "" {
		return []bool{false}
	}
	return []bool{false, true}
}

// Fingerprint implements infra.Doctor.
func (d *Doctor) Fingerprint(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	version, err := d.client.Discovery().ServerVersion()
	if err != nil {
		return "", interpret(err, "read the version of the cluster")
	}
	namespace := ""
	if d.cfg.NamespacePer != PerOrganization { // those come and go
		found, err := d.client.CoreV1().Namespaces().Get(ctx, d.cfg.NamespaceOf(d.ref(false)), metav1.GetOptions{})
		if err != nil {
			return "", interpret(err, "read the namespace of runs")
		}
		namespace = string(found.UID)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "2|%s|%s|%s|%s|%t|%s|%s|%t", version.GitVersion, namespace, d.cfg.RuntimeImage,
		d.cfg.SandboxRuntimeClass, d.cfg.RuntimeByCopy, d.cfg.GatewayURL, d.cfg.NamespacePer, d.namespaced(ctx)))
	return hex.EncodeToString(sum[:8]), nil
}

// ref is that of a probe. With namespaces of organizations it has one of its own.
func (d *Doctor) ref(sandboxed bool) infra.Ref {
	const nobody = ids.Org("org_00000000000000000000000000")
	return infra.Ref{Run: ids.New[ids.Run](ids.PrefixRun), Attempt: 1, Org: nobody, Sandboxed: sandboxed}
}

// Examine implements infra.Doctor. Where the nodes say that they have user namespaces, it
// is a pod with one that is examined. If that does not run or has none all the same, runs
// do without, and the pod without is examined: nobody was promised one.
func (d *Doctor) Examine(ctx context.Context, sandboxed bool) (infra.Examination, error) {
	if sandboxed && !d.hasClass(ctx) {
		return infra.Examination{Sandboxed: true, Findings: []infra.Finding{{
			Check: infra.CheckProbe, State: infra.Broken, Message: "there is no RuntimeClass " + d.cfg.SandboxRuntimeClass,
		}}}, nil
	}
	without := ""
	if !sandboxed && d.namespaced(ctx) {
		found, err := d.probe(ctx, sandboxed, true)
		if ctx.Err() != nil {
			return found, err
		}
		if found.State(infra.CheckUsers) == infra.Holds {
			return found, err
		}
		without = "the nodes say that they have user namespaces, and the pod with one was not seen to run"
		if found.State(infra.CheckUsers) == infra.Broken {
			without = "the nodes say that they have user namespaces, and the pod got none"
		}
	}
	found, err := d.probe(ctx, sandboxed, false)
	if without != "" {
		found.Findings = append(found.Findings, infra.Finding{Check: infra.CheckUsers, State: infra.Unknown, Message: without})
	}
	return found, err
}

// hasClass is false where the API server says that the RuntimeClass is not there. Who may
// not ask tries it.
func (d *Doctor) hasClass(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := d.client.NodeV1().RuntimeClasses().Get(ctx, d.cfg.SandboxRuntimeClass, metav1.GetOptions{})
	return !apierrors.IsNotFound(err)
}

// namespaced reports whether all nodes that pods may come to say that their runtime has
// user namespaces. Who may not read them has none.
func (d *Doctor) namespaced(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	nodes, err := d.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return false
	}
	able := 0
	for i := range nodes.Items {
		node := &nodes.Items[i]
		if slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule }) {
			continue
		}
		if !slices.ContainsFunc(node.Status.RuntimeHandlers, hasUserNamespaces) {
			return false
		}
		able++
	}
	return able > 0
}

// hasUserNamespaces is of the runtime handler of pods that name none.
func hasUserNamespaces(h corev1.NodeRuntimeHandler) bool {
	return h.Name == "" && h.Features != nil && h.Features.UserNamespaces != nil && *h.Features.UserNamespaces
}

// examinePod examines one pod.
func (d *Doctor) examinePod(ctx context.Context, sandboxed, namespaced bool) (infra.Examination, error) {
	s := d.sandbox(sandboxed, d.targets(ctx))
	s.UserNamespace = namespaced
	ctx, cancel := context.WithTimeout(ctx, probeStart+probeRun+time.Minute)
	defer cancel()
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*callTimeout)
		defer cancel()
		_ = d.cluster.Delete(clean, s.Ref, time.Second) // or the reconciliation does
	}()
	if err := d.cluster.Create(ctx, s); err != nil {
		return infra.Examination{}, fmt.Errorf("create probe: %w", err)
	}
	probed := infra.Probed{Sandboxed: sandboxed, Namespaced: namespaced, Gateway: d.cfg.GatewayURL != ""}
	tick := time.NewTicker(probeLook)
	defer tick.Stop()
	for {
		seen, err := d.cluster.Observe(ctx, s.Ref)
		if err == nil {
			if seen.Pod != nil && (seen.Pod.Running != nil || seen.Pod.Terminated != nil) {
				d.listen(ctx, s.Ref, seen.Pod.Name, &probed)
			}
			if v := infra.Classify(s.Ref, seen, time.Now()); v.Ended {
				probed.Ended, probed.Outcome = true, v.Outcome
				probed.NodeKernel = d.nodeKernel(ctx, v.Outcome.Node)
				return infra.Judge(probed), nil
			}
		}
		select {
		case <-ctx.Done():
			return infra.Judge(probed), fault.Wrap(fault.Unavailable, ctx.Err(), "wait for the probe "+s.Name())
		case <-tick.C:
		}
	}
}

// listen reads what the probe has reported so far. An evicted pod has no log: what was
// read before stays.
func (d *Doctor) listen(ctx context.Context, ref infra.Ref, pod string, p *infra.Probed) {
	if n := len(p.Lines); n > 0 && p.Lines[n-1].Survived {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	log, err := d.cluster.Logs(ctx, ref, infra.LogOptions{Pod: pod})
	if err != nil {
		return
	}
	defer log.Close()
	var lines []agentruntime.ProbeReport
	scanner := bufio.NewScanner(io.LimitReader(log, maxProbeLog))
	scanner.Buffer(make([]byte, 0, 4096), agentruntime.MaxProbeLine+64)
	for scanner.Scan() && len(lines) < 10 {
		_, text, _ := bytes.Cut(scanner.Bytes(), []byte(" ")) // its time
		text, ok := bytes.CutPrefix(text, []byte(agentruntime.ProbeMark))
		var line agentruntime.ProbeReport
		if ok && json.Unmarshal(text, &line) == nil {
			lines = append(lines, line)
		}
	}
	if len(lines) > len(p.Lines) {
		p.Lines = lines
	}
}

// sandbox is the probe, as an agent.
func (d *Doctor) sandbox(sandboxed bool, targets []agentruntime.ProbeTarget) infra.Sandbox {
	command := []string{agentruntime.SupervisorPath, "probe", fmt.Sprintf("--fill=%d", 8*probeDiskMiB<<20)}
	for _, t := range targets {
		command = append(command, "--target="+t.Name+","+t.Network+","+t.Address)
	}
	return infra.Sandbox{
		Ref: d.ref(sandboxed), Agent: "agt_00000000000000000000000000",
		Image: d.cfg.RuntimeImage, Command: command, Input: []byte("{}"),
		CPUMillis: 250, MemoryMiB: 256, DiskMiB: probeDiskMiB,
		StartTimeout: probeStart, RunTimeout: probeRun, Grace: time.Second,
	}
}

// targets are addresses that no pod may reach, and the gateway. The probe adds those of
// the node that it is on.
func (d *Doctor) targets(ctx context.Context) []agentruntime.ProbeTarget {
	targets := []agentruntime.ProbeTarget{
		{Name: "metadata service", Network: "tcp", Address: "169.254.169.254:80"},
		{Name: "metadata service", Network: "tcp", Address: "[fd00:ec2::254]:80"},
	}
	add := func(name, network, address string) {
		targets = append(targets, agentruntime.ProbeTarget{Name: name, Network: network, Address: address})
	}
	if d.server != "" {
		add("API server", "tcp", d.server)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// Both need rights that a platform may go without: it attacks what it knows.
	if dns, err := d.client.CoreV1().Services("kube-system").Get(ctx, "kube-dns", metav1.GetOptions{}); err == nil {
		for _, ip := range dns.Spec.ClusterIPs {
			add("DNS of the cluster", "udp", net.JoinHostPort(ip, "53"))
			add("DNS of the cluster", "tcp", net.JoinHostPort(ip, "53"))
		}
	}
	if nodes, err := d.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: maxProbedNodes}); err == nil {
		for _, node := range nodes.Items {
			for _, a := range node.Status.Addresses {
				if net.ParseIP(a.Address) != nil {
					add("kubelet", "tcp", net.JoinHostPort(a.Address, "10250"))
				}
			}
		}
	}
	if u, err := url.Parse(d.cfg.GatewayURL); err == nil && u.Host != "" {
		add(infra.TargetGateway, "tcp", u.Host)
	}
	return append(targets, d.Attack...)
}

// nodeKernel is empty where it may not be read.
func (d *Doctor) nodeKernel(ctx context.Context, name string) string {
	if name == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	node, err := d.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return node.Status.NodeInfo.KernelVersion
}
