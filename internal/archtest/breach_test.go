package archtest

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
)

// sound is a module in the small that keeps every rule.
func sound() graph {
	g := graph{}
	add := func(name string, imports ...string) {
		g[name] = pkg{name: name, imports: imports, documented: true}
	}
	add("fault", "errors", "fmt")
	add("ids", "strings", "github.com/oklog/ulid/v2")
	add("money", "math/bits", module+"/fault")
	add("audit", "time", module+"/ids")
	add("marketplace", "context", "net/url", module+"/fault", module+"/ids", module+"/money", module+"/audit", module+"/product")
	add("product", module+"/infra", module+"/agentruntime", module+"/money", module+"/audit", "github.com/santhosh-tekuri/jsonschema/v6")
	add("infra", module+"/agentruntime")
	add("infra/kube", module+"/infra", "k8s.io/client-go/kubernetes")
	add("agentruntime", "encoding/json", module+"/fault", module+"/ids")
	add("agentruntime/supervisor", "os/exec", module+"/agentruntime")
	add("launch", "context", module+"/product", module+"/marketplace", module+"/audit", module+"/fault", module+"/ids")
	add("activities", "go.temporal.io/sdk/activity", module+"/product", module+"/infra", module+"/marketplace")
	add("workflows", "go.temporal.io/sdk/workflow", module+"/activities")
	add("conductor", "go.temporal.io/sdk/client", module+"/workflows")
	add("workers", "go.temporal.io/sdk/client", module+"/workflows")
	add("store", "gorm.io/gorm", module+"/product", module+"/marketplace")
	add("blobs", "gocloud.dev/blob", module+"/product")
	add("api", "github.com/gin-gonic/gin", "github.com/danielgtaylor/huma/v2", module+"/product")
	add("cmd/devstack", "go.temporal.io/server/temporal", module+"/cmd/internal/wire")
	add("publicnet", "net/http")
	add("registry", "net/http", module+"/fault", module+"/publicnet")
	add("webhooks", "net/http", module+"/product", module+"/publicnet", "github.com/standard-webhooks/standard-webhooks/libraries/go")
	add("cmd/internal/wire", "go.temporal.io/sdk/client", module+"/store", module+"/infra/kube", module+"/registry")
	g["deploy"] = pkg{name: "deploy", testImports: []string{"k8s.io/api/core/v1"}, documented: true}
	return g
}

// with returns the graph with more imports of one package.
func with(g graph, name string, imports ...string) graph {
	g = maps.Clone(g)
	p := g[name]
	p.name, p.documented = name, true
	p.imports = append(p.imports[:len(p.imports):len(p.imports)], imports...)
	g[name] = p
	return g
}

func withTest(g graph, name string, imports ...string) graph {
	g = maps.Clone(g)
	p := g[name]
	p.testImports = append(p.testImports[:len(p.testImports):len(p.testImports)], imports...)
	g[name] = p
	return g
}

func TestSoundModuleBreaksNoRule(t *testing.T) {
	for _, r := range rules {
		require.Empty(t, r.find(sound()), r.says)
	}
}

// Every rule fails on a module that breaks it, and says where.
func TestRulesFail(t *testing.T) {
	bare := sound()
	bare["blobs"] = pkg{name: "blobs"}

	broken := map[string][]struct {
		graph graph
		where string
	}{
		"gorm is imported only by store": {
			{with(sound(), "product", "gorm.io/gorm"), "product imports gorm.io/gorm"},
			{with(sound(), "cmd/internal/wire", "gorm.io/driver/postgres"), "cmd/internal/wire imports gorm.io/driver/postgres"},
			{withTest(sound(), "api", "gorm.io/gorm"), "a test of api imports gorm.io/gorm"},
		},
		"gin and huma are imported only by api and gateway": {
			{with(sound(), "conductor", "github.com/gin-gonic/gin"), "conductor imports github.com/gin-gonic/gin"},
			{with(sound(), "product", "github.com/danielgtaylor/huma/v2"), "product imports github.com/danielgtaylor/huma/v2"},
		},
		"Kubernetes libraries are imported only by infra/kube": {
			{with(sound(), "infra", "k8s.io/api/batch/v1"), "infra imports k8s.io/api/batch/v1"},
			{with(sound(), "deploy", "k8s.io/api/core/v1"), "deploy imports k8s.io/api/core/v1"},
		},
		"the Temporal client is imported only by conductor, workers and cmd": {
			{with(sound(), "api", "go.temporal.io/sdk/client"), "api imports go.temporal.io/sdk/client"},
			{withTest(sound(), "workflows", "go.temporal.io/sdk/client"), "a test of workflows imports go.temporal.io/sdk/client"},
		},
		"the Temporal server is imported only by cmd/devstack": {
			{with(sound(), "cmd/internal/wire", "go.temporal.io/server/temporal"), "cmd/internal/wire imports go.temporal.io/server/temporal"},
		},
		"the registry client is imported only by cmd, and the libraries of others not at all": {
			{with(sound(), "api", module+"/registry"), "api imports agentmarket/registry"},
			{withTest(sound(), "marketplace", module+"/registry"), "a test of marketplace imports agentmarket/registry"},
			{with(sound(), "activities", "github.com/google/go-containerregistry/pkg/v1/remote"), "activities imports github.com/google/go-containerregistry/pkg/v1/remote"},
		},
		"the sender of webhooks is imported only by cmd, and its library by nothing else": {
			{with(sound(), "activities", module+"/webhooks"), "activities imports agentmarket/webhooks"},
			{withTest(sound(), "api", "github.com/standard-webhooks/standard-webhooks/libraries/go"),
				"a test of api imports github.com/standard-webhooks/standard-webhooks/libraries/go"},
		},
		"metrics is imported only by cmd, and the library of Prometheus by nothing else": {
			{with(sound(), "activities", module+"/metrics"), "activities imports agentmarket/metrics"},
			{with(sound(), "workers", "github.com/prometheus/client_golang/prometheus"), "workers imports github.com/prometheus/client_golang/prometheus"},
		},
		"agentruntime/agent is imported only by examples": {
			{with(sound(), "agentruntime/supervisor", module+"/agentruntime/agent"), "agentruntime/supervisor imports agentmarket/agentruntime/agent"},
			{withTest(sound(), "gateway", module+"/agentruntime/agent"), "a test of gateway imports agentmarket/agentruntime/agent"},
		},
		"the SDK of MCP is imported only by gateway/tools and examples": {
			{with(sound(), "api", "github.com/modelcontextprotocol/go-sdk/mcp"), "api imports github.com/modelcontextprotocol/go-sdk/mcp"},
		},
		"publicnet is imported only by registry, webhooks, gateway/egress and gateway/tools": {
			{with(sound(), "api", module+"/publicnet"), "api imports agentmarket/publicnet"},
		},
		"a layer never imports a layer above it: marketplace → product → infra → agentruntime": {
			{with(sound(), "infra/kube", module+"/product"), "infra/kube imports product, which is above it"},
			{with(sound(), "agentruntime", module+"/marketplace"), "agentruntime imports marketplace, which is above it"},
			{withTest(sound(), "product", module+"/marketplace"), "product imports marketplace, which is above it"},
		},
		"layers know no technology": {
			{with(sound(), "marketplace", "net/http"), "marketplace → net/http"},
			{with(sound(), "infra", module+"/infra/kube"), "infra → infra/kube → k8s.io/client-go/kubernetes"},
			{with(sound(), "money", "net/http"), "marketplace → money → net/http"},
			{with(sound(), "agentruntime/supervisor", "net/http"), "agentruntime/supervisor → net/http"},
		},
		"agentruntime imports only the standard library, fault and ids": {
			{with(sound(), "agentruntime/supervisor", "golang.org/x/sys/unix"), "agentruntime/supervisor imports golang.org/x/sys/unix"},
		},
		"fault imports only the standard library": {
			{with(sound(), "fault", module+"/ids"), "fault imports agentmarket/ids"},
		},
		"ids imports only the standard library and ulid": {
			{with(sound(), "ids", "github.com/google/uuid"), "ids imports github.com/google/uuid"},
		},
		"money and audit import only the standard library, fault and ids": {
			{with(sound(), "money", "github.com/shopspring/decimal"), "money imports github.com/shopspring/decimal"},
			{with(sound(), "audit", module+"/marketplace"), "audit imports agentmarket/marketplace"},
			{with(sound(), "audit", module+"/money"), "audit imports agentmarket/money"},
		},
		"launch imports only layers 1 and 2, and what they import": {
			{with(sound(), "launch", module+"/store"), "launch imports agentmarket/store"},
			{with(sound(), "launch", "go.temporal.io/sdk/client"), "launch imports go.temporal.io/sdk/client"},
		},
		"launch is imported only by api, gateway, activities and cmd": {
			{with(sound(), "marketplace", module+"/launch"), "marketplace imports agentmarket/launch"},
			{withTest(sound(), "store", module+"/launch"), "a test of store imports agentmarket/launch"},
		},
		"workflows reach no I/O through any package of the module": {
			{with(sound(), "workflows", module+"/store"), "workflows → store"},
			{with(sound(), "activities", module+"/blobs"), "workflows → activities → blobs"},
			{with(sound(), "activities", module+"/registry"), "workflows → activities → registry"},
			{with(sound(), "activities", module+"/webhooks"), "workflows → activities → webhooks"},
			{with(sound(), "workflows", "net/http"), "workflows → net/http"},
			{with(sound(), "marketplace", "net"), "workflows → activities → marketplace → net"},
			{with(sound(), "activities", "go.temporal.io/sdk/client"), "workflows → activities → go.temporal.io/sdk/client"},
		},
		"every package has a package comment": {
			{bare, "blobs has no package comment"},
		},
	}
	for _, r := range rules {
		require.NotEmpty(t, broken[r.says], "no module here breaks the rule: %s", r.says)
		for _, b := range broken[r.says] {
			breaches := r.find(b.graph)
			require.Contains(t, breaches, b.where, r.says)
			require.Contains(t, r.explain(breaches), r.home)
		}
	}
	require.Len(t, broken, len(rules), "a rule that is broken here does not exist")
}
