package archtest

import (
	"slices"
	"strings"
	"testing"
)

// rule is one sentence of the architecture.
type rule struct {
	says string // the rule
	why  string // what would go wrong without it
	home string // where code belongs that breaks it
	// find returns every place that breaks the rule.
	find func(graph) []string
}

// explain words the breaches of a rule for the one who has to mend them.
func (r rule) explain(breaches []string) string {
	return "\n  rule    " + r.says + "\n  why     " + r.why + "\n  instead " + r.home +
		"\n  broken  " + strings.Join(breaches, "\n          ")
}

// technologies are what layers must not know. The supervisor is layer 4 at work
// in the pod, and still needs none of it.
var technologies = []string{
	"gorm.io", "database/sql", "github.com/jackc/pgx",
	"net/http", "github.com/gin-gonic", "github.com/danielgtaylor/huma",
	"k8s.io", "go.temporal.io", "gocloud.dev",
}

// layers from the top to the bottom; each folder holds all of its layer.
var layers = []string{"marketplace", "product", "infra", "agentruntime"}

// rules is the architecture.
var rules = []rule{
	{
		says: "gorm is imported only by store",
		why:  "rows, hooks and lazy queries spread through a program that can see them; behind the Store interfaces the database stays one technology among others",
		home: "a query goes to store, behind a method of the Store interface beside the domain type; a test of another package uses internal/storetest",
		find: confined([]string{"gorm.io"}, []string{"store"}, nil),
	},
	{
		says: "gin and huma are imported only by api and gateway",
		why:  "what HTTP looks like must be free to change without touching what the platform means",
		home: "a handler, a header or a status code goes to api; what it decides goes to the layer that owns the decision",
		find: confined([]string{"github.com/gin-gonic", "github.com/danielgtaylor/huma"}, []string{"api", "gateway"}, nil),
	},
	{
		says: "Kubernetes libraries are imported only by infra/kube",
		why:  "the rest of the platform speaks of sandboxes and outcomes; objects of a cluster that travel further make every layer depend on its version",
		home: "rendering, reading and watching goes to infra/kube, behind infra.Cluster; a type that cmd hands on can be named in infra/kube",
		// internal/fakekubelet is a part of the cluster, not of the platform: it plays the
		// nodes that a computer of a developer does not have.
		find: confined([]string{"k8s.io"}, []string{"infra/kube", "internal/testenv", "internal/fakekubelet", "e2e", "bench"}, []string{"deploy"}),
	},
	{
		says: "the Temporal client is imported only by conductor, workers and cmd",
		why:  "workflow identifiers, queues, reuse policies and signal names are a protocol with running workflows; one package must know all of its speakers",
		home: "a new verb (start, cancel, signal, complete) is a method of conductor.Conductor",
		find: confined([]string{"go.temporal.io/sdk/client"},
			[]string{"conductor", "workers", "cmd/...", "internal/testenv", "internal/simulate", "e2e", "bench"}, nil),
	},
	{
		says: "the Temporal server is imported only by cmd/devstack",
		why:  "it is some hundred packages that production, which runs Temporal as a service, has no use for",
		home: "whatever embeds the server or its Web UI goes to cmd/devstack; tests start that program",
		find: confined([]string{"go.temporal.io/server", "github.com/temporalio/ui-server"}, []string{"cmd/devstack"}, nil),
	},
	{
		says: "the registry client is imported only by cmd, and the libraries of others not at all",
		why:  "publishers choose which address is asked for an image; one client refuses those inside of the platform's network, and nothing else may ask",
		home: "declare or use marketplace.Images; what is asked of a registry goes to registry, and cmd/internal/wire hands it over",
		find: confined([]string{module + "/registry", "github.com/google/go-containerregistry", "oras.land", "go.podman.io/image",
			"github.com/containers/image", "github.com/containerd/containerd"}, []string{"registry", "cmd/..."}, []string{"e2e"}),
	},
	{
		says: "the sender of webhooks is imported only by cmd, and its library by nothing else",
		why:  "customers choose whom the platform speaks to; one sender refuses those inside of the platform's network, and nothing else may send",
		home: "declare or use activities.Sender; cmd/internal/wire hands over the one of package webhooks",
		find: confined([]string{module + "/webhooks", "github.com/standard-webhooks"}, []string{"webhooks", "cmd/..."}, []string{"e2e"}),
	},
	{
		says: "metrics is imported only by cmd, and the library of Prometheus by nothing else",
		why:  "what is counted is decided where it happens; how it is shown is one technology",
		home: "take a function that is told the number, as activities.Reconcile.Found; cmd/internal/wire hands over the one of package metrics",
		find: confined([]string{module + "/metrics", "github.com/prometheus"}, []string{"metrics", "cmd/..."}, nil),
	},
	{
		says: "agentruntime/agent is imported only by examples",
		why:  "it is for the programs of authors and speaks HTTP, which layers and the supervisor may not",
		home: "what both sides of the contract need goes to agentruntime",
		find: confined([]string{module + "/agentruntime/agent"}, []string{"agentruntime/agent", "examples/..."}, nil),
	},
	{
		says: "publicnet is imported only by registry, webhooks, gateway/egress and gateway/tools",
		why:  "it is for packages that speak to whom strangers choose, and there is one for each purpose",
		home: "a new purpose is a new edge package, which takes its transport from publicnet, or asks it about an address",
		find: confined([]string{module + "/publicnet"}, []string{"publicnet", "registry", "webhooks", "gateway/egress", "gateway/tools"}, nil),
	},
	{
		says: "the SDK of MCP is imported only by gateway/tools and examples",
		why:  "what a server of tools says is a stranger's, and is bounded in one place; examples are agents, no part of the platform",
		home: "gateway/tools; tests may speak the protocol as an agent or as a server does",
		find: confined([]string{"github.com/modelcontextprotocol"}, []string{"gateway/tools", "examples/..."}, []string{"gateway", "e2e"}),
	},
	{
		says: "a layer never imports a layer above it: " + strings.Join(layers, " → "),
		why:  "the lower layer would take part in decisions that are not its own: a cluster adapter that knows of purchases, an agent contract that knows of clusters",
		home: "pass what the lower layer needs as a plain value of its own; the translation goes to activities",
		find: layersPointDown,
	},
	{
		says: "layers know no technology",
		why:  "they hold the meaning that outlives every database, protocol and orchestrator, and are tested without any",
		home: "declare an interface in the layer and implement it in an edge package: store, api, infra/kube, activities, blobs",
		find: layersArePure,
	},
	{
		says: "agentruntime imports only the standard library, fault and ids",
		why:  "it is the contract with strangers, and is linked into the supervisor that starts in every pod: small, static, without a supply chain",
		home: "what needs a library goes to activities (the platform's side) or to cmd/agent-runtime",
		find: imports([]string{"agentruntime", "agentruntime/..."},
			module+"/agentruntime", module+"/fault", module+"/ids"),
	},
	{
		says: "fault imports only the standard library",
		why:  "every package imports it, so whatever it imports is imported by all",
		home: "the table of a technology's errors goes to the package of that technology: api/problem.go, activities/errors.go, store/errors.go",
		find: imports([]string{"fault"}),
	},
	{
		says: "ids imports only the standard library and ulid",
		why:  "every package imports it, so whatever it imports is imported by all",
		home: "what is done with an identifier goes to the package that does it",
		find: imports([]string{"ids"}, "github.com/oklog/ulid"),
	},
	{
		says: "money and audit import only the standard library, fault and ids",
		why:  "every layer may speak of an amount and of who changed something, so neither may know a layer or bring a library along",
		home: "what an amount is for, or what is recorded of an object, goes to the layer that owns it: marketplace, product; writing it down goes to store",
		find: imports([]string{"money", "audit"}, module+"/fault", module+"/ids"),
	},
	{
		says: "launch imports only layers 1 and 2, and what they import",
		why:  "the API and a schedule start runs by the same rules; what one of them needs more must not reach the other",
		home: "reading a request goes to api, whom a schedule belongs to goes to activities; telling the workflow engine is left to the caller",
		find: imports([]string{"launch"},
			module+"/marketplace", module+"/product", module+"/audit", module+"/fault", module+"/ids", module+"/money"),
	},
	{
		says: "launch is imported only by api, gateway, activities and cmd",
		why:  "it stands above the layers; a layer that starts runs itself would decide about its own use",
		home: "declare an interface where a run is to be started, as activities.Starter; cmd/internal/wire hands over the launcher",
		find: confined([]string{module + "/launch"}, []string{"api", "gateway", "activities", "cmd/..."}, []string{"launch", "e2e"}),
	},
	{
		says: "workflows reach no I/O through any package of the module",
		why:  "a workflow is replayed: what it does directly it does again, and differently",
		home: "I/O goes to an activity, whose struct holds an interface; the implementation is handed over in cmd/internal/wire",
		find: workflowsReachNoIO,
	},
	{
		says: "every package has a package comment",
		why:  "a reader decides by it whether to read on",
		home: "say in doc.go what the package is for, with a drawing where something moves",
		find: undocumented,
	},
}

func TestArchitecture(t *testing.T) {
	g := load(t)
	for _, r := range rules {
		t.Run(r.says, func(t *testing.T) {
			if breaches := r.find(g); len(breaches) > 0 {
				t.Error(r.explain(breaches))
			}
		})
	}
}

// confined finds imports outside of the packages that may have them; inTests are
// packages whose tests may, too. Tests beside the code follow the code.
func confined(what, in, inTests []string) func(graph) []string {
	return func(g graph) (breaches []string) {
		for _, name := range g.names() {
			if selects(in, name) {
				continue
			}
			for _, path := range g[name].imports {
				if withinAny(path, what) {
					breaches = append(breaches, breach("%s imports %s", name, path))
				}
			}
			if selects(inTests, name) {
				continue
			}
			for _, path := range g[name].testImports {
				if withinAny(path, what) {
					breaches = append(breaches, breach("a test of %s imports %s", name, path))
				}
			}
		}
		return breaches
	}
}

// imports finds imports of the code of some packages that are neither of the
// standard library nor below one of the allowed paths.
func imports(of []string, allowed ...string) func(graph) []string {
	return func(g graph) (breaches []string) {
		for _, name := range g.names() {
			if !selects(of, name) {
				continue
			}
			for _, path := range g[name].imports {
				if !standard(path) && !withinAny(path, allowed) {
					breaches = append(breaches, breach("%s imports %s", name, path))
				}
			}
		}
		return breaches
	}
}

// layersPointDown looks at tests as well: one that needs a layer above tests
// something that is not its layer's business.
func layersPointDown(g graph) (breaches []string) {
	for i, layer := range layers {
		for _, name := range g.names() {
			if !within(name, layer) {
				continue
			}
			for _, path := range slices.Concat(g[name].imports, g[name].testImports) {
				if target, ok := internal(path); ok && withinAny(target, layers[:i]) {
					breaches = append(breaches, breach("%s imports %s, which is above it", name, target))
				}
			}
		}
	}
	return breaches
}

// layersArePure follows imports through the module, so that a technology cannot
// come in by way of a package in between.
func layersArePure(g graph) (breaches []string) {
	for _, layer := range append([]string{"agentruntime/supervisor"}, layers...) {
		chains := g.reach(layer)
		for _, name := range g.names() {
			chain, reached := chains[name]
			if !reached {
				continue
			}
			for _, path := range g[name].imports {
				if withinAny(path, technologies) {
					breaches = append(breaches, breach("%s → %s", chain, path))
				}
			}
		}
	}
	return breaches
}

// ioPackages are the packages of the module that do I/O.
var ioPackages = []string{
	"store", "blobs", "registry", "publicnet", "webhooks", "infra/kube", "conductor", "workers", "api", "gateway", "cmd", "internal",
}

// parsers are packages below net that read texts and connect to nothing.
var parsers = []string{"net/mail", "net/netip", "net/url"}

func workflowsReachNoIO(g graph) (breaches []string) {
	chains := g.reach("workflows")
	for _, name := range g.names() {
		chain, reached := chains[name]
		if !reached {
			continue
		}
		if withinAny(name, ioPackages) {
			breaches = append(breaches, chain)
		}
		for _, path := range g[name].imports {
			temporal := within(path, "go.temporal.io/sdk") && !within(path, "go.temporal.io/sdk/client")
			if withinAny(path, append([]string{"os/exec", "net"}, technologies...)) && !temporal && !slices.Contains(parsers, path) {
				breaches = append(breaches, breach("%s → %s", chain, path))
			}
		}
	}
	return breaches
}

func undocumented(g graph) (breaches []string) {
	for _, name := range g.names() {
		if !g[name].documented {
			breaches = append(breaches, breach("%s has no package comment", name))
		}
	}
	return breaches
}
