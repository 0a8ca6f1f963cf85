package fakekubelet

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Config is how the nodes are and what runs on them.
type Config struct {
	// Count is how many nodes there are, with room for 10,000 pods each.
	Count int
	// Ended says of a running pod whether its process has ended. It is asked when the pod
	// begins to run, and after Nodes.Look.
	Ended func(*corev1.Pod) bool
	// Message is the termination message of a process that ended now.
	Message func(*corev1.Pod) (string, error)
	// Ending is called right before the end of a pod is written.
	Ending func(*corev1.Pod)
	// CertFile and KeyFile are the authority that signs the certificate of the server of
	// logs: the one by which the API server knows kubelets.
	CertFile, KeyFile string
}

const (
	// Label marks the nodes.
	Label  = "agentmarket.dev/simulated"
	prefix = "simulated-"

	leaseNamespace = "kube-node-lease"
	// leaseEvery is how often a node says that it is there, a quarter of the time after
	// which it is taken for lost.
	leaseEvery = 10 * time.Second
	leaseTime  = 40 * time.Second
	steppers   = 16
)

// Nodes are simulated nodes.
type Nodes struct {
	cfg   Config
	kube  kubernetes.Interface
	pods  cache.SharedIndexInformer
	queue workqueue.TypedRateLimitingInterface[string]
	port  int32

	// Patches and Deletes count the requests that change pods.
	Patches, Deletes atomic.Int64
	// Faults counts the requests that failed, and were made again.
	Faults atomic.Int64
}

// Start makes the nodes and plays their kubelets until the returned function is
// called, which removes them.
func Start(ctx context.Context, config *rest.Config, cfg Config) (*Nodes, func(), error) {
	config = rest.CopyConfig(config)
	config.QPS, config.UserAgent = -1, "fakekubelet"
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("connect simulated nodes: %w", err)
	}
	n := &Nodes{cfg: cfg, kube: kube, queue: workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[string](20*time.Millisecond, time.Second))}
	stopLogs, err := n.serveLogs(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	stop := func() {
		cancel()
		n.queue.ShutDown()
		group.Wait()
		stopLogs()
		n.remove()
	}
	if err := n.begin(ctx, &group); err != nil {
		stop()
		return nil, nil, err
	}
	return n, stop, nil
}

// begin watches pods, and makes the nodes once it does.
func (n *Nodes) begin(ctx context.Context, group *sync.WaitGroup) error {
	factory := informers.NewSharedInformerFactoryWithOptions(n.kube, 0, informers.WithTransform(trim))
	n.pods = factory.Core().V1().Pods().Informer()
	_, err := n.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: n.changed, UpdateFunc: func(_, pod any) { n.changed(pod) }})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), n.pods.HasSynced) {
		return fmt.Errorf("watch pods: %w", ctx.Err())
	}
	for i := range n.cfg.Count {
		if err := n.register(ctx, fmt.Sprintf("%s%d", prefix, i)); err != nil {
			return err
		}
	}
	for range steppers {
		group.Go(func() {
			for n.next(ctx) {
			}
		})
	}
	group.Go(func() { n.stayAlive(ctx) })
	return nil
}

func (n *Nodes) register(ctx context.Context, name string) error {
	room := corev1.ResourceList{}
	for resourceName, much := range map[corev1.ResourceName]string{
		corev1.ResourceCPU: "10k", corev1.ResourceMemory: "100Ti", corev1.ResourceEphemeralStorage: "100Ti", corev1.ResourcePods: "10k",
	} {
		room[resourceName] = resource.MustParse(much)
	}
	now := metav1.Now()
	_, err := n.kube.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{Label: "true", corev1.LabelHostname: name}},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Simulated", LastHeartbeatTime: now, LastTransitionTime: now,
			}},
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: loopback}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: n.port}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("register node %s: %w", name, err)
	}
	_, err = n.kube.CoordinationV1().Leases(leaseNamespace).Create(ctx, leaseOf(name), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make lease of node %s: %w", name, err)
	}
	return nil
}

func leaseOf(name string) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: leaseNamespace},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &name, LeaseDurationSeconds: new(int32(leaseTime.Seconds())), RenewTime: &metav1.MicroTime{Time: time.Now()},
		},
	}
}

// stayAlive renews the leases of the nodes, and says of each that it is ready: one whose
// lease was late is taken for lost until it does.
func (n *Nodes) stayAlive(ctx context.Context) {
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for i := range n.cfg.Count {
			// One that fails is renewed again in time.
			if err := n.renew(ctx, fmt.Sprintf("%s%d", prefix, i)); err != nil {
				n.Faults.Add(1)
			}
		}
	}
}

func (n *Nodes) renew(ctx context.Context, name string) error {
	now := time.Now().UTC()
	lease := fmt.Appendf(nil, `{"spec": {"renewTime": %q}}`, now.Format(metav1.RFC3339Micro))
	_, err := n.kube.CoordinationV1().Leases(leaseNamespace).Patch(ctx, name, types.MergePatchType, lease, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("renew lease of %s: %w", name, err)
	}
	ready := fmt.Appendf(nil, `{"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Simulated", "lastHeartbeatTime": %q}]}}`, now.Format(time.RFC3339))
	_, err = n.kube.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, ready, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("tell that %s is ready: %w", name, err)
	}
	return nil
}

// remove removes the nodes; the cluster's own controllers remove their pods.
func (n *Nodes) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for i := range n.cfg.Count {
		name := fmt.Sprintf("%s%d", prefix, i)
		_ = n.kube.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
		_ = n.kube.CoordinationV1().Leases(leaseNamespace).Delete(ctx, name, metav1.DeleteOptions{})
	}
}

// Simulated reports whether a pod is on one of the nodes.
func Simulated(pod *corev1.Pod) bool { return strings.HasPrefix(pod.Spec.NodeName, prefix) }
