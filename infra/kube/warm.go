package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"agentmarket/infra"
)

// A warm pod is that of an attempt, made before there is one: its supervisor waits, and
// nothing of the agent has run in it. What is not known yet comes with the adoption.
//
//	attempt with Warm ──► adopt: a pod that is ready, or a pod of its own
//	                 └──► pool: some seconds later, fill up what is ready for the next,
//	                      and pull its image elsewhere, see pull.go
//
// Nobody has to clear up: a pod that no run wants ends by itself after warmLife.
const (
	warmLife = 10 * time.Minute
	// warmMargin is how long before its end a warm pod is not adopted any more.
	warmMargin = time.Minute
	// warmTTL is how long the Job of a pod that nobody wanted stays.
	warmTTL = time.Minute
	// fillAfter lets the attempt that asks for pods begin before they do.
	fillAfter = 2 * time.Second
	// maxKinds bounds the kinds of pods that wait to be made.
	maxKinds = 256
	// maxInputDir bounds the folder into which the supervisor writes the input.
	maxInputDir = 2 << 20
)

// renderWarm returns a Job that is ready for attempts that differ from this one by run
// and input only, and the key of all that are. It is pure.
func renderWarm(s infra.Sandbox, cfg Config) (*batchv1.Job, string, error) {
	s.Ref = infra.Ref{Org: s.Org, Sandboxed: s.Sandboxed}
	s.Input, s.AvoidNodes = nil, nil
	labels := map[string]string{
		labelManagedBy: managedBy, labelAgent: string(s.Agent), labelOrg: string(s.Org), labelTier: tierOf(s.Ref),
	}
	job := renderJob(s, cfg)
	job.Name, job.Labels, job.Annotations, job.Spec.Template.Labels = "", labels, annotationsOf(s), labels
	spec := &job.Spec.Template.Spec
	*job.Spec.ActiveDeadlineSeconds += wholeSeconds(warmLife)
	*spec.ActiveDeadlineSeconds += wholeSeconds(warmLife)
	job.Spec.TTLSecondsAfterFinished = new(int32(wholeSeconds(warmTTL)))
	for i := range spec.Volumes {
		if spec.Volumes[i].Name == volumeInput {
			spec.Volumes[i].VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
				SizeLimit: resource.NewQuantity(maxInputDir, resource.BinarySI),
			}}
		}
	}
	mounts := spec.Containers[0].VolumeMounts
	for i := range mounts {
		mounts[i].ReadOnly = mounts[i].ReadOnly && mounts[i].Name != volumeInput
	}
	content, err := json.Marshal(struct {
		Labels map[string]string
		Spec   batchv1.JobSpec
	}{labels, job.Spec})
	if err != nil {
		return nil, "", fmt.Errorf("hash warm job: %w", err)
	}
	sum := sha256.Sum256(content)
	key := hex.EncodeToString(sum[:16])
	labels[labelWarm] = key
	job.GenerateName = "warm-" + key[:12] + "-"
	job.Namespace = cfg.NamespaceOf(s.Ref)
	return job, key, nil
}

// pool are the kinds of pods that are wanted.
type pool struct {
	mu     sync.Mutex
	kinds  map[string]infra.Sandbox // by key
	wanted chan struct{}
}

func newPool() *pool {
	return &pool{kinds: map[string]infra.Sandbox{}, wanted: make(chan struct{}, 1)}
}

// want notes that pods for attempts like this one are to be ready.
func (p *pool) want(s infra.Sandbox, key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kinds) >= maxKinds { // the next attempt asks again
		return
	}
	p.kinds[key] = s
	select {
	case p.wanted <- struct{}{}:
	default:
	}
}

// take returns what is wanted, once.
func (p *pool) take() map[string]infra.Sandbox {
	p.mu.Lock()
	defer p.mu.Unlock()
	kinds := p.kinds
	p.kinds = map[string]infra.Sandbox{}
	return kinds
}

// KeepWarm makes the pods ready that attempts asked for, until the context ends. What
// fails is left to the next attempt that asks.
func (c *Cluster) KeepWarm(ctx context.Context, failed func(error)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.pool.wanted:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(fillAfter):
		}
		for key, s := range c.pool.take() {
			if err := errors.Join(c.fill(ctx, s, key), c.pull(ctx, s)); err != nil && ctx.Err() == nil {
				failed(err)
			}
		}
	}
}

// fill makes as many pods of a kind as are missing. Workers that do so at once may make
// a few more.
func (c *Cluster) fill(ctx context.Context, s infra.Sandbox, key string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	job, _, err := renderWarm(s, c.cfg)
	if err != nil {
		return err
	}
	jobs := c.client.BatchV1().Jobs(job.Namespace)
	list, err := jobs.List(ctx, metav1.ListOptions{LabelSelector: labelWarm + "=" + key})
	if err != nil {
		return interpret(err, "list warm jobs of "+key)
	}
	missing := s.Warm
	for i := range list.Items {
		if have := &list.Items[i]; fresh(have) && !finished(have) {
			missing--
		}
	}
	for range missing {
		if _, err := jobs.Create(ctx, job, metav1.CreateOptions{}); err != nil {
			return interpret(err, "create warm job of "+key)
		}
	}
	return nil
}

// fresh reports whether what was made ahead may still be adopted.
func fresh(o metav1.Object) bool {
	return o.GetDeletionTimestamp() == nil && time.Since(o.GetCreationTimestamp().Time) < warmLife-warmMargin
}

func finished(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
