package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// request is a kind of request to the API server, as it counts them itself.
type request struct{ verb, resource string }

// requests are how many were made of each kind.
type requests map[request]float64

// counted are the resources that a run or a bare Job has to do with. Quotas are left
// out: the API server and a controller write what is used of them, in their own time.
var counted = []string{"jobs", "pods", "secrets", "events"}

var label = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)

// requests reads apiserver_request_total, but for watches and what the simulated nodes
// have asked for themselves.
func (w *world) requests(b *testing.B) requests {
	b.Helper()
	patches, deletes := w.nodes.Patches.Load(), w.nodes.Deletes.Load()
	text, err := w.Kube.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(b.Context())
	require.NoError(b, err)
	found := requests{}
	eachNumber(b, text, func(name string, labels map[string]string, n float64) {
		if name != "apiserver_request_total" || labels["verb"] == "WATCH" || !slices.Contains(counted, labels["resource"]) {
			return
		}
		what := labels["resource"]
		if labels["subresource"] != "" {
			what += "/" + labels["subresource"]
		}
		found[request{labels["verb"], what}] += n
	})
	found[request{"PATCH", "pods/status"}] -= float64(patches)
	found[request{"DELETE", "pods"}] -= float64(deletes)
	return found
}

// since is what was made after an earlier count.
func (r requests) since(before requests) requests {
	made := requests{}
	for kind, n := range r {
		if d := n - before[kind]; d != 0 {
			made[kind] = d
		}
	}
	return made
}

func (r requests) total() float64 {
	var sum float64
	for _, n := range r {
		sum += n
	}
	return sum
}

// printRequests prints the requests for each of so many runs, one column for each arm.
func printRequests(names []string, arms []requests, each []float64) {
	all := requests{}
	for _, r := range arms {
		maps.Copy(all, r)
	}
	kinds := slices.SortedFunc(maps.Keys(all), func(a, b request) int {
		return cmp.Or(cmp.Compare(a.resource, b.resource), cmp.Compare(a.verb, b.verb))
	})
	fmt.Printf("\n| requests to the API server | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	row := func(name string, n func(i int) float64) {
		fmt.Printf("| %s |", name)
		for i := range arms {
			fmt.Printf(" %.2f |", n(i)/each[i])
		}
		fmt.Println()
	}
	for _, kind := range kinds {
		row(kind.verb+" "+kind.resource, func(i int) float64 { return arms[i][kind] })
	}
	row("all", func(i int) float64 { return arms[i].total() })
}

// worker reads the metrics of the worker; those with labels are added up.
func (w *world) worker(b *testing.B) map[string]float64 {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+w.metrics+"/metrics", nil)
	require.NoError(b, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(b, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(b, err)
	found := map[string]float64{}
	eachNumber(b, text, func(name string, _ map[string]string, n float64) { found[name] += n })
	return found
}

// eachNumber reads the text form of Prometheus.
func eachNumber(b *testing.B, text []byte, do func(name string, labels map[string]string, n float64)) {
	b.Helper()
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		cut := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || cut < 0 {
			continue
		}
		n, err := strconv.ParseFloat(line[cut+1:], 64)
		require.NoError(b, err, line)
		name, rest, _ := strings.Cut(line[:cut], "{")
		labels := map[string]string{}
		for _, pair := range label.FindAllStringSubmatch(rest, -1) {
			labels[pair[1]] = pair[2]
		}
		do(name, labels, n)
	}
	require.NoError(b, lines.Err())
}

// cpu is how much processor time the parts of the platform and of the cluster have
// used, in seconds, by name; "everything else" is the rest of the computer.
func (w *world) cpu(b *testing.B) map[string]float64 {
	b.Helper()
	used := map[string]float64{}
	var ours float64
	folders, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(b, err)
	for _, folder := range folders {
		name, ok := w.part(folder)
		if !ok {
			continue
		}
		ticks := ticksOf(filepath.Join(folder, "stat"))
		used[name] += ticks
		ours += ticks
	}
	stat, err := os.ReadFile("/proc/stat")
	require.NoError(b, err)
	var busy float64
	for i, word := range strings.Fields(strings.SplitN(string(stat), "\n", 2)[0])[1:] {
		if n, err := strconv.ParseFloat(word, 64); err == nil && i != 3 && i != 4 && i < 8 { // idle, waiting
			busy += n / 100
		}
	}
	used["everything else"] = busy - ours
	return used
}

// part names the process of a folder of /proc, if it is one of this benchmark.
func (w *world) part(folder string) (string, bool) {
	command, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
	words := strings.Split(string(command), "\x00")
	if filepath.Base(folder) == strconv.Itoa(os.Getpid()) {
		return "simulated nodes and clients", true
	}
	if len(words) > 1 && strings.HasPrefix(words[0], w.Bin) {
		if filepath.Base(words[0]) == "containerd" || words[1] == "kubelet" {
			return "real node", true
		}
		return strings.TrimPrefix(words[1], "kube-"), true
	}
	if strings.HasPrefix(words[0], "postgres:") {
		parent, _ := os.ReadFile(filepath.Join(folder, "stat"))
		if fields := strings.Fields(string(parent[bytes.LastIndexByte(parent, ')')+1:])); len(fields) > 1 {
			command, _ = os.ReadFile(filepath.Join("/proc", fields[1], "cmdline"))
		}
	}
	return "PostgreSQL", strings.Contains(string(command), fmt.Sprintf("agentmarket-postgres-%d-", os.Getpid()))
}

func ticksOf(file string) float64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}
