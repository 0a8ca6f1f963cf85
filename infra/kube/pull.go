package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"agentmarket/agentruntime"
	"agentmarket/infra"
)

// A pull Job brings the image of an agent that is kept warm to nodes where no run has been
// yet. Its pods are spread over the nodes as well as there is room, start the supervisor
// instead of the agent, which ends at once, and have no token. The finished Job says that
// it was done, to all workers, until it expires.
const (
	// pullAgain is how long nobody pulls the same image again: nodes come, and nodes
	// remove what they have not used.
	pullAgain = 30 * time.Minute
	// pullTime bounds the pulling.
	pullTime = 10 * time.Minute
	// MaxPullNodes bounds the pods of a pull Job.
	MaxPullNodes = 100

	pullCPUMillis = 10
	pullMemoryMiB = 32
	pullDiskMiB   = 1
)

// renderPull returns the Job for the image of an attempt. It is pure, and apart from the
// organization that asked the same for all attempts with this image in a namespace.
func renderPull(s infra.Sandbox, cfg Config) *batchv1.Job {
	sum := sha256.Sum256([]byte(s.Image))
	key := hex.EncodeToString(sum[:16])
	cfg.GatewayURL = "" // nobody to speak to, and no token
	job := renderJob(infra.Sandbox{
		Ref: infra.Ref{Org: s.Org, Sandboxed: s.Sandboxed}, Image: s.Image, UserNamespace: s.UserNamespace,
		CPUMillis: pullCPUMillis, MemoryMiB: pullMemoryMiB, DiskMiB: pullDiskMiB, StartTimeout: pullTime,
	}, cfg)
	labels := map[string]string{labelManagedBy: managedBy, labelOrg: string(s.Org), labelTier: tierOf(s.Ref), labelPull: key}
	job.Name, job.Labels, job.Spec.Template.Labels, job.Spec.Template.Annotations = "pull-"+key, labels, labels, nil
	nodes := int32(cfg.PullNodes) //nolint:gosec // at most MaxPullNodes
	job.Spec.Parallelism, job.Spec.Completions, job.Spec.BackoffLimit = &nodes, &nodes, &nodes
	job.Spec.PodFailurePolicy = nil // one node that fails does not end the others
	job.Spec.TTLSecondsAfterFinished = new(int32(wholeSeconds(pullAgain)))

	spec := &job.Spec.Template.Spec
	spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{labelPull: key}},
		// With fewer nodes than pods some get two: one that waits would call for more nodes.
		WhenUnsatisfiable: corev1.ScheduleAnyway,
	}}
	spec.Volumes = slices.DeleteFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == volumeInput })
	agent := &spec.Containers[0]
	agent.Command = []string{agentruntime.SupervisorPath, "exit"}
	agent.VolumeMounts = slices.DeleteFunc(agent.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volumeInput })
	return job
}

// pull makes the Job for the image of an attempt, where there is none.
func (c *Cluster) pull(ctx context.Context, s infra.Sandbox) error {
	if c.cfg.PullNodes == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	job := renderPull(s, c.cfg)
	jobs := c.client.BatchV1().Jobs(job.Namespace)
	_, err := jobs.Get(ctx, job.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = jobs.Create(ctx, job, metav1.CreateOptions{})
	}
	if apierrors.IsAlreadyExists(err) { // by another worker
		return nil
	}
	return interpret(err, "make job "+job.Name)
}
