package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"agentmarket/infra"
)

// adopt gives an attempt a pod that is ready; false: it is to make its own.
//
//	input (Secret)  names the pod: the first try of the attempt decides for all
//	Job             becomes that of the attempt, if it is nobody's
//	pod             likewise: the supervisor in it hears of that from the gateway
//
// A try that breaks off is finished by the next one. Attempts that follow a failure make
// their own pod, whatever the failure was about.
func (c *Cluster) adopt(ctx context.Context, s infra.Sandbox, input *corev1.Secret) (bool, error) {
	if s.Attempt > 1 || len(s.AvoidNodes) > 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, key, err := renderWarm(s, c.cfg)
	if err != nil {
		return false, err
	}
	defer c.pool.want(s, key)
	ready, err := c.ready(ctx, input.Namespace, key)
	if err != nil {
		return false, err
	}
	name := ""
	if len(ready) > 0 { // not the same for all that come at once
		sum := fnv.New32a()
		_, _ = sum.Write([]byte(s.Run))
		name = ready[sum.Sum32()%uint32(len(ready))].Name
	}
	if name, err = c.decide(ctx, input, name); err != nil || name == "" {
		return false, err
	}
	taken, err := c.take(ctx, s, input.Namespace, name, key)
	if err != nil || taken {
		return taken, err
	}
	// Another run was faster, or the pod has ended.
	return false, c.settleFor(ctx, input, name)
}

// ready are the pods of a kind that wait for a run.
func (c *Cluster) ready(ctx context.Context, namespace, key string) ([]corev1.Pod, error) {
	list, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: labelWarm + "=" + key})
	if err != nil {
		return nil, interpret(err, "list warm pods of "+key)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return !fresh(&p) || observePod(&p).Running == nil
	}), nil
}

// decide makes the input of an attempt with the name of the pod that it adopts (empty:
// none), or returns what an earlier try decided.
func (c *Cluster) decide(ctx context.Context, input *corev1.Secret, pod string) (string, error) {
	input = input.DeepCopy()
	input.Annotations = map[string]string{annotationAdopted: pod}
	api := c.client.CoreV1().Secrets(input.Namespace)
	err := uncontended(func() error {
		_, err := api.Create(ctx, input, metav1.CreateOptions{})
		return err
	})
	if !apierrors.IsAlreadyExists(err) {
		return pod, interpret(err, "create input of "+input.Name)
	}
	have, err := api.Get(ctx, input.Name, metav1.GetOptions{})
	if err != nil {
		return "", interpret(err, "read input of "+input.Name)
	}
	return have.Annotations[annotationAdopted], nil
}

// settleFor decides for a pod of the attempt's own making instead.
func (c *Cluster) settleFor(ctx context.Context, input *corev1.Secret, instead string) error {
	path := "/metadata/annotations/" + pointer(annotationAdopted)
	_, err := c.client.CoreV1().Secrets(input.Namespace).Patch(ctx, input.Name, types.JSONPatchType,
		operations{{"test", path, instead}, {"replace", path, ""}}.json(), metav1.PatchOptions{})
	if failedTest(err) { // the other try of this moment did
		return nil
	}
	return interpret(err, "decide on the pod of "+input.Name)
}

// take makes a warm pod and its Job those of an attempt; false: they are another's, or
// gone. Whoever comes second finds no label of the key.
func (c *Cluster) take(ctx context.Context, s infra.Sandbox, namespace, name, key string) (bool, error) {
	jobName := name[:max(0, strings.LastIndexByte(name, '-'))]
	jobs, pods := c.client.BatchV1().Jobs(namespace), c.client.CoreV1().Pods(namespace)
	now := time.Now()
	job, err := jobs.Get(ctx, jobName, metav1.GetOptions{})
	if err == nil && !isOf(job, s.Ref) {
		changes := append(adoption(s, key, job, now), operation{"replace", "/spec/ttlSecondsAfterFinished", wholeSeconds(c.cfg.JobTTL)})
		_, err = jobs.Patch(ctx, jobName, types.JSONPatchType, changes.json(), metav1.PatchOptions{})
	}
	if apierrors.IsNotFound(err) || failedTest(err) {
		return false, nil
	}
	if err != nil {
		return false, interpret(err, "adopt job "+jobName)
	}
	pod, err := pods.Get(ctx, name, metav1.GetOptions{})
	if err == nil && !isOf(pod, s.Ref) {
		changes := adoption(s, key, pod, now)
		if started := pod.Status.StartTime; started != nil {
			// As for any other pod of the attempt, but from now on.
			left := wholeSeconds(now.Sub(started.Time)) + wholeSeconds(s.StartTimeout+s.RunTimeout+s.Grace+podMargin)
			if most := pod.Spec.ActiveDeadlineSeconds; most != nil && left < *most {
				changes = append(changes, operation{"replace", "/spec/activeDeadlineSeconds", left})
			}
		}
		_, err = pods.Patch(ctx, name, types.JSONPatchType, changes.json(), metav1.PatchOptions{})
	}
	if apierrors.IsNotFound(err) || failedTest(err) {
		_, err := c.removeJob(ctx, namespace, jobName) // it has the labels of this attempt, and no pod
		return false, err
	}
	return err == nil, interpret(err, "adopt pod "+name)
}

func isOf(o metav1.Object, ref infra.Ref) bool {
	have, ok := refOf(o.GetLabels())
	return ok && have == ref
}

// adoption are the changes that make something an attempt's that was nobody's.
func adoption(s infra.Sandbox, key string, o metav1.Object, now time.Time) operations {
	label := func(name string) string { return "/metadata/labels/" + pointer(name) }
	annotation := func(name string) string { return "/metadata/annotations/" + pointer(name) }
	start := wholeSeconds(max(0, now.Sub(o.GetCreationTimestamp().Time)) + s.StartTimeout)
	return operations{
		{"test", "/metadata/uid", o.GetUID()},
		{"test", label(labelWarm), key},
		{"remove", label(labelWarm), nil},
		{"add", label(labelRun), s.Run},
		{"add", label(labelAttempt), strconv.Itoa(s.Attempt)},
		{"add", annotation(annotationStart), strconv.FormatInt(start, 10)},
		{"add", annotation(annotationAdopted), now.UTC().Truncate(time.Second).Format(time.RFC3339)},
	}
}

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

type operations []operation

func (o operations) json() []byte {
	text, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("marshal patch: %v", err)) // texts and numbers
	}
	return text
}

// pointer escapes a name for a JSON pointer.
func pointer(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// failedTest reports whether a patch found another object than it was made for.
func failedTest(err error) bool { return apierrors.IsInvalid(err) || apierrors.IsConflict(err) }
