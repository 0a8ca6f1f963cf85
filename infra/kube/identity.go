package kube

import (
	"context"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"

	"agentmarket/fault"
	"agentmarket/infra"
)

// Audience is whom the tokens of pods are for. The API server takes no such token.
const Audience = infra.GatewayAudience

// maxToken bounds the text of a token, in bytes: those of Kubernetes have one to two
// thousand.
const maxToken = 8 << 10

// signatures are the algorithms of the keys that a cluster may sign with.
var signatures = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512}

var podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// Identities says which attempt a pod's token speaks for.
//
//	token ─► signature, issuer, audience, time   by the cluster's keys, which are cached
//	      ─► pod (namespace, name, UID)          must exist: by a watch of the metadata
//	      ─► labels of the pod                   the platform's: run and attempt
//
// Nothing that the agent says is part of it. Whether the attempt still goes on is for
// the record to say.
type Identities struct {
	keys      *clusterKeys
	pods      metadata.Interface
	cfg       Config
	factories map[string]metadatainformer.SharedInformerFactory // by namespace
	now       func() time.Time

	// asking lets one call at a time ask for a pod that the watch has not shown yet.
	asking sync.Mutex
	// waiting are supervisors in warm pods.
	waiting *waiters
}

// NewIdentities returns the identities of the pods in the namespaces of runs.
func NewIdentities(client kubernetes.Interface, objects metadata.Interface, cfg Config) *Identities {
	i := &Identities{
		keys: &clusterKeys{client: client, now: time.Now}, pods: objects, cfg: cfg, now: time.Now,
		factories: map[string]metadatainformer.SharedInformerFactory{}, waiting: newWaiters(),
	}
	for _, namespace := range cfg.Watched() {
		factory := metadatainformer.NewFilteredSharedInformerFactory(objects, 0, namespace, func(o *metav1.ListOptions) {
			o.LabelSelector = labelManagedBy + "=" + managedBy
		})
		informer := factory.ForResource(podResource).Informer()
		_ = informer.SetTransform(trimMetadata)
		_, _ = informer.AddEventHandler(i.waiting.handler()) // fails only where it has stopped
		i.factories[namespace] = factory
	}
	return i
}

// Run watches until the context ends. It is called once.
func (i *Identities) Run(ctx context.Context) error {
	for _, factory := range i.factories {
		factory.Start(ctx.Done())
	}
	<-ctx.Done()
	for _, factory := range i.factories {
		factory.Shutdown()
	}
	return nil
}

// Ready reports whether the watch has seen all pods that there are.
func (i *Identities) Ready() bool {
	for _, factory := range i.factories {
		if !factory.ForResource(podResource).Informer().HasSynced() {
			return false
		}
	}
	return true
}

// trimMetadata drops what is never read of a pod's metadata.
func trimMetadata(obj any) (any, error) {
	p, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	p.ManagedFields, p.Annotations, p.OwnerReferences, p.Finalizers = nil, nil, nil, nil
	p.Labels = keep(p.Labels, labelRun, labelAttempt, labelOrg, labelTier, labelWarm)
	return p, nil
}

// podClaims are the private claims of a token that Kubernetes made for a pod.
type podClaims struct {
	Kubernetes struct {
		Namespace string `json:"namespace"`
		Pod       *struct {
			Name string `json:"name"`
			UID  string `json:"uid"`
		} `json:"pod"`
	} `json:"kubernetes.io"`
}

// Attempt returns the attempt whose pod a token belongs to. Whatever is wrong with the
// token or the pod is fault.Unauthenticated; a cluster that cannot be asked for its
// keys or a pod is fault.Unavailable.
func (i *Identities) Attempt(ctx context.Context, token string) (infra.Ref, error) {
	pod, err := i.podOf(ctx, token)
	if err != nil {
		return infra.Ref{}, err
	}
	if pod.Labels[labelWarm] != "" { // another gateway's watch may have shown its run already
		if pod, err = i.askFor(ctx, pod); err != nil {
			return infra.Ref{}, err
		}
	}
	return i.attemptOf(pod)
}

// attemptOf reads the attempt from the labels of a pod.
func (i *Identities) attemptOf(pod *metav1.PartialObjectMetadata) (infra.Ref, error) {
	// Whoever may make namespaces and pods elsewhere can put our labels on them.
	ref, ok := refOf(pod.Labels)
	if !ok || i.cfg.NamespaceOf(ref) != pod.Namespace {
		return infra.Ref{}, refusedToken("is not one of a run")
	}
	return ref, nil
}

// podOf returns the pod that a token is of.
func (i *Identities) podOf(ctx context.Context, token string) (*metav1.PartialObjectMetadata, error) {
	if len(token) > maxToken {
		return nil, refusedToken("is too long")
	}
	parsed, err := jwt.ParseSigned(token, signatures)
	if err != nil || len(parsed.Headers) != 1 {
		return nil, refusedToken("is not one of a pod")
	}
	issuer, key, err := i.keys.find(ctx, parsed.Headers[0].KeyID)
	if err != nil {
		return nil, err
	}
	var claims jwt.Claims
	var of podClaims
	if key == nil || parsed.Claims(key, &claims, &of) != nil {
		return nil, refusedToken("is not signed by the cluster")
	}
	expected := jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{Audience}, Time: i.now()}
	// One that never ends is none of a pod.
	if claims.Expiry == nil || claims.ValidateWithLeeway(expected, 0) != nil {
		return nil, refusedToken("is not for the gateway, or has expired")
	}
	if of.Kubernetes.Pod == nil || !i.cfg.ours(of.Kubernetes.Namespace) {
		return nil, refusedToken("is not one of a run")
	}
	pod, err := i.pod(ctx, of.Kubernetes.Namespace, of.Kubernetes.Pod.Name)
	if err != nil {
		return nil, err
	}
	if pod == nil || string(pod.UID) != of.Kubernetes.Pod.UID {
		return nil, refusedToken("is of a pod that is gone")
	}
	return pod, nil
}

// pod finds the metadata of a pod, nil where there is none.
func (i *Identities) pod(ctx context.Context, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	if pod := i.seen(namespace, name); pod != nil {
		return pod, nil
	}
	// A pod may be faster than the watch. Whoever holds a token of one that is gone
	// makes nobody ask more than once at a time.
	i.asking.Lock()
	defer i.asking.Unlock()
	if pod := i.seen(namespace, name); pod != nil {
		return pod, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pod, err := i.pods.Resource(podResource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, interpret(err, "read pod "+name)
	}
	return pod, nil
}

// seen is what the watch knows of a pod.
func (i *Identities) seen(namespace, name string) *metav1.PartialObjectMetadata {
	factory := i.factories[namespace]
	if factory == nil {
		factory = i.factories[metav1.NamespaceAll]
	}
	if factory == nil {
		return nil
	}
	obj, exists, err := factory.ForResource(podResource).Informer().GetStore().GetByKey(namespace + "/" + name)
	if err != nil || !exists {
		return nil
	}
	pod, _ := obj.(*metav1.PartialObjectMetadata)
	return pod
}

func refusedToken(why string) error {
	return fault.New(fault.Unauthenticated, "token_invalid", "the token "+why)
}
