package kube

import (
	"fmt"
	"hash/fnv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"agentmarket/ids"
	"agentmarket/infra"
)

// The values of Config.NamespacePer.
const (
	PerTier         = "tier"
	PerOrganization = "organization"
)

const suffixSandboxed = "-sandboxed"

// NamespaceOf is where the objects of an attempt are. It depends on the run alone, so
// that every process finds them, and what an attempt left is found by the next one.
func (c Config) NamespaceOf(ref infra.Ref) string {
	name := c.Namespace
	if c.NamespacePer == PerOrganization {
		name += "-" + strings.ToLower(ids.Body(ref.Org))
	}
	if ref.Sandboxed {
		name += suffixSandboxed
	}
	if c.NamespaceShards > 1 {
		sum := fnv.New32a()
		_, _ = sum.Write([]byte(ref.Run))
		name += fmt.Sprintf("-%d", sum.Sum32()%uint32(c.NamespaceShards))
	}
	return name
}

// Watched are the namespaces of runs, as far as they are known beforehand: with one
// for each organization it is the one entry metav1.NamespaceAll.
func (c Config) Watched() []string {
	if c.NamespacePer == PerOrganization {
		return []string{metav1.NamespaceAll}
	}
	tiers := []string{c.Namespace}
	if c.SandboxRuntimeClass != "" {
		tiers = append(tiers, c.Namespace+suffixSandboxed)
	}
	if c.NamespaceShards <= 1 {
		return tiers
	}
	var names []string
	for _, tier := range tiers {
		for n := range c.NamespaceShards {
			names = append(names, fmt.Sprintf("%s-%d", tier, n))
		}
	}
	return names
}

// ours reports whether a namespace is one of runs.
func (c Config) ours(namespace string) bool {
	return namespace == c.Namespace || strings.HasPrefix(namespace, c.Namespace+"-")
}
