package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is the path of the module, and the prefix of its packages.
const module = "agentmarket"

// pkg is a package of the module. Its name is its folder, relative to the root
// of the module: "infra/kube".
type pkg struct {
	name        string
	imports     []string // of the code
	testImports []string // of the tests only
	documented  bool     // a file has a package comment
}

// graph is the module: its packages by name.
type graph map[string]pkg

// load reads the module with the go command.
func load(t *testing.T) graph {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list",
		"-json=ImportPath,Dir,Doc,Imports,TestImports,XTestImports,TestGoFiles,XTestGoFiles", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	decoder := json.NewDecoder(bytes.NewReader(out))
	g := graph{}
	for {
		var listed struct {
			ImportPath, Dir, Doc               string
			Imports, TestImports, XTestImports []string
			TestGoFiles, XTestGoFiles          []string
		}
		err := decoder.Decode(&listed)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		p := pkg{
			name:        "the root of the module",
			imports:     listed.Imports,
			testImports: slices.Concat(listed.TestImports, listed.XTestImports),
			documented:  listed.Doc != "",
		}
		if name, ok := internal(listed.ImportPath); ok {
			p.name = name
		}
		for _, file := range slices.Concat(listed.TestGoFiles, listed.XTestGoFiles) {
			// Folders with nothing but tests have their comment there.
			p.documented = p.documented || hasPackageComment(t, filepath.Join(listed.Dir, file))
		}
		g[p.name] = p
	}
	require.Greater(t, len(g), 10, "go list found no module to check")
	return g
}

func hasPackageComment(t *testing.T, file string) bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
	require.NoError(t, err)
	return parsed.Doc != nil
}

// internal returns the name of a package of this module, by its import path.
func internal(path string) (name string, ok bool) {
	return strings.CutPrefix(path, module+"/")
}

// standard reports whether an import path is one of the standard library: its
// first element has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first != module && !strings.Contains(first, ".")
}

// within reports whether an import path is the prefix or below it.
func within(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

func withinAny(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return within(path, prefix) })
}

// selects reports whether one of the patterns names the package: "store" is the
// package itself, "cmd/..." all of the folder.
func selects(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		folder, all := strings.CutSuffix(pattern, "/...")
		return name == folder || all && within(name, folder)
	})
}

// names returns the packages in a stable order.
func (g graph) names() []string {
	var names []string
	for name := range g {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// reach returns every package of the module that the code of one imports,
// itself included, each with the chain of imports that leads to it.
func (g graph) reach(from string) map[string]string {
	chains := map[string]string{from: from}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, path := range g[queue[0]].imports {
			name, ok := internal(path)
			if _, seen := chains[name]; ok && !seen {
				chains[name] = chains[queue[0]] + " → " + name
				queue = append(queue, name)
			}
		}
	}
	return chains
}

// breach is one place that breaks a rule.
func breach(format string, args ...any) string { return fmt.Sprintf(format, args...) }
