package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"agentmarket/infra"
)

// TestTaxonomy: what Kubernetes says of pods that ended, or that wait for too long,
// goes the way that it goes in a worker (trimmed, observed, classified) and has the
// reason that its file begins with. The files are what `make failures` has seen, and
// what cannot be provoked, by hand: hand-*.yaml.
func TestTaxonomy(t *testing.T) {
	files, err := filepath.Glob("testdata/pods/*.yaml")
	require.NoError(t, err)
	seen := map[infra.Reason]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			first, rest, _ := strings.Cut(string(text), "\n")
			reason, found := strings.CutPrefix(first, "# reason: ")
			require.True(t, found, "the first line says the reason")
			origin := "# Recorded by make failures: "
			if strings.HasPrefix(name, "hand-") {
				origin = "# By hand, after "
			}
			require.True(t, strings.HasPrefix(rest, origin), "the second line says where it is from: %s", origin)

			outcome := judge(t, text)
			require.Equal(t, infra.Reason(reason), outcome.Reason, outcome.Message)
			if outcome.Reason != infra.ReasonOK {
				require.NotEmpty(t, outcome.Message)
			}
			seen[outcome.Reason] = true
		})
	}
	for _, reason := range infra.Reasons() {
		switch reason {
		case infra.ReasonJobRefused, infra.ReasonQuotaExceeded: // there is no pod
		default:
			require.True(t, seen[reason], "a pod for %s", reason)
		}
	}
}

// judge classifies a pod like the watcher, long after its creation.
func judge(t *testing.T, text []byte) infra.Outcome {
	t.Helper()
	var pod corev1.Pod
	require.NoError(t, yaml.UnmarshalStrict(text, &pod))
	ref, ours := refOf(pod.Labels)
	require.True(t, ours)
	trimmed, err := trim(&pod)
	require.NoError(t, err)
	verdict := infra.Classify(ref, observedOf(trimmed.(*corev1.Pod)), pod.CreationTimestamp.Add(time.Hour))
	require.True(t, verdict.Ended, "its end is seen")
	return verdict.Outcome
}
