package product

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"agentmarket/agentruntime"
)

// Permissions is what a version asks of its buyer: what it may use, and how much
// one run may take.
type Permissions struct {
	Tools, Models, Secrets, SecretFiles, Egress []string // sorted

	CPUMillis, MemoryMiB, DiskMiB, RunSeconds int64
}

// PermissionsOf returns what a manifest asks for.
func PermissionsOf(m agentruntime.Manifest) Permissions {
	return Permissions{
		Tools:       slices.Sorted(slices.Values(m.Tools)),
		Models:      slices.Sorted(slices.Values(m.Models)),
		Secrets:     slices.Sorted(slices.Values(m.Secrets)),
		SecretFiles: slices.Sorted(slices.Values(m.SecretFiles)),
		Egress:      slices.Sorted(slices.Values(m.Egress)),
		CPUMillis:   m.Resources.CPUMillis, MemoryMiB: m.Resources.MemoryMiB, DiskMiB: m.Resources.DiskMiB,
		RunSeconds: m.Timeouts.RunSeconds,
	}
}

// NeedsConsent reports whether anything is asked for that a buyer has to agree
// to: a tool, a model, a secret or a host.
func (p Permissions) NeedsConsent() bool {
	return len(p.Tools) > 0 || len(p.Models) > 0 || len(p.Secrets) > 0 || len(p.Egress) > 0
}

// Covers reports whether who consented to p has consented to next as well.
func (p Permissions) Covers(next Permissions) bool { return !p.ChangeTo(next).Widens() }

// With returns what p and other ask for together.
func (p Permissions) With(other Permissions) Permissions {
	both := func(a, b []string) []string {
		list := slices.Concat(a, b)
		slices.Sort(list)
		return slices.Compact(list)
	}
	return Permissions{
		Tools: both(p.Tools, other.Tools), Models: both(p.Models, other.Models), Secrets: both(p.Secrets, other.Secrets),
		SecretFiles: both(p.SecretFiles, other.SecretFiles), Egress: both(p.Egress, other.Egress),
		CPUMillis: max(p.CPUMillis, other.CPUMillis), MemoryMiB: max(p.MemoryMiB, other.MemoryMiB),
		DiskMiB: max(p.DiskMiB, other.DiskMiB), RunSeconds: max(p.RunSeconds, other.RunSeconds),
	}
}

// PermissionChange is what a version asks for that another one did not, and what
// it does not need any more. A host that an entry of the other one covers is
// neither.
type PermissionChange struct {
	ToolsAdded, ToolsRemoved     []string
	ModelsAdded, ModelsRemoved   []string
	SecretsAdded, SecretsRemoved []string
	// Secrets that the agent reads itself, not only uses.
	SecretFilesAdded, SecretFilesRemoved []string
	EgressAdded, EgressRemoved           []string

	Envelope []EnvelopeChange // only what differs
}

// EnvelopeChange is a bound of a run that differs.
type EnvelopeChange struct {
	Name     string // as in the manifest: cpu_millis, memory_mib, disk_mib, run_seconds
	From, To int64
}

// ChangeTo compares what is asked for with what the next version asks for.
func (p Permissions) ChangeTo(next Permissions) PermissionChange {
	c := PermissionChange{
		ToolsAdded: missing(next.Tools, p.Tools, same), ToolsRemoved: missing(p.Tools, next.Tools, same),
		ModelsAdded: missing(next.Models, p.Models, same), ModelsRemoved: missing(p.Models, next.Models, same),
		SecretsAdded: missing(next.Secrets, p.Secrets, same), SecretsRemoved: missing(p.Secrets, next.Secrets, same),
		SecretFilesAdded: missing(next.SecretFiles, p.SecretFiles, same), SecretFilesRemoved: missing(p.SecretFiles, next.SecretFiles, same),
		EgressAdded: missing(next.Egress, p.Egress, coversHost), EgressRemoved: missing(p.Egress, next.Egress, coversHost),
	}
	for _, e := range []EnvelopeChange{
		{"cpu_millis", p.CPUMillis, next.CPUMillis},
		{"memory_mib", p.MemoryMiB, next.MemoryMiB},
		{"disk_mib", p.DiskMiB, next.DiskMiB},
		{"run_seconds", p.RunSeconds, next.RunSeconds},
	} {
		if e.From != e.To {
			c.Envelope = append(c.Envelope, e)
		}
	}
	return c
}

// Widens reports whether the change asks for more: a new tool, model, secret or host, or
// a larger bound.
func (c PermissionChange) Widens() bool {
	return len(c.ToolsAdded) > 0 || len(c.ModelsAdded) > 0 || len(c.SecretsAdded) > 0 || len(c.SecretFilesAdded) > 0 ||
		len(c.EgressAdded) > 0 ||
		slices.ContainsFunc(c.Envelope, func(e EnvelopeChange) bool { return e.To > e.From })
}

// Empty reports whether nothing changes.
func (c PermissionChange) Empty() bool {
	return !c.Widens() && len(c.ToolsRemoved) == 0 && len(c.ModelsRemoved) == 0 && len(c.SecretsRemoved) == 0 &&
		len(c.SecretFilesRemoved) == 0 && len(c.EgressRemoved) == 0 && len(c.Envelope) == 0
}

// missing returns the entries of list that nothing of other covers.
func missing(list, other []string, covers func(have, want string) bool) (left []string) {
	for _, want := range list {
		if !slices.ContainsFunc(other, func(have string) bool { return covers(have, want) }) {
			left = append(left, want)
		}
	}
	return left
}

func same(have, want string) bool { return have == want }

// defaultPort is that of an entry of egress without one.
const defaultPort = "443"

// GrantsHost reports whether one of some entries of egress allows connections to a host
// and port. It is what a consent is compared by, so nothing is reached that nobody agreed
// to.
func GrantsHost(entries []string, host string, port uint16) bool {
	want := host + ":" + strconv.Itoa(int(port))
	return slices.ContainsFunc(entries, func(have string) bool { return coversHost(have, want) })
}

// coversHost reports whether an entry of egress allows all that another one asks
// for. An entry without a port is one for 443; *.example.com allows every name below
// example.com, and *.a.example.com is one of them.
func coversHost(have, want string) bool {
	haveHost, havePort := hostAndPort(have)
	wantHost, wantPort := hostAndPort(want)
	if havePort != wantPort {
		return false
	}
	below, wildcard := strings.CutPrefix(haveHost, "*")
	return haveHost == wantHost || wildcard && strings.HasSuffix(strings.TrimPrefix(wantHost, "*"), below)
}

func hostAndPort(entry string) (host, port string) {
	host, port, _ = strings.Cut(entry, ":")
	return host, cmp.Or(port, defaultPort)
}
