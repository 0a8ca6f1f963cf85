package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// foreignWords are those of the orchestrator.
var foreignWords = []string{"kubernetes", "k8s", "kube", "kubelet", "kubectl", "pod", "pods", "job", "jobs", "namespace", "namespaces"}

// Product says what should run. The day it says "pod" it has begun to say how.
func TestProductHasNoWordOfKubernetes(t *testing.T) {
	files, err := filepath.Glob("../../product/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var found []string
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			found = append(found, foreignWordsIn(t, file, nil)...)
		}
	}
	r := rule{
		says: "identifiers and texts of product have no word of Kubernetes",
		why:  "its plans must hold on any substrate, and are kept for years; words are how the one in use seeps in",
		home: "say it in the words of intent (attempt, plan, deadline), or move it to infra",
	}
	if len(found) > 0 {
		t.Error(r.explain(found))
	}
}

func TestForeignWordsAreFound(t *testing.T) {
	const source = `// Package product knows no pod.
package product

import kube "agentmarket/infra/kube" // the import is another rule's business

type PodSpec struct{ jobName string }

const text = "the Namespace is gone"

// A job of a comment is fine, and so are these: podium, jobless.
var podium, jobless = infra.ReasonPodGone, "podcast"
`
	require.Equal(t, []string{
		`source.go:6: PodSpec`, `source.go:6: jobName`, `source.go:8: "the Namespace is gone"`,
	}, foreignWordsIn(t, "source.go", source))
}

// foreignWordsIn parses a file (or the source that is given for it) and returns
// where identifiers and string literals hold one of the words. Comments and
// import clauses are not looked at, and a name that is quoted from infra is a
// word of infra: that is how the table of reasons takes over those of layer 3.
func foreignWordsIn(t *testing.T, file string, source any) (found []string) {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, source, 0)
	require.NoError(t, err)
	report := func(node ast.Node, text string) {
		if slices.ContainsFunc(wordsOf(text), func(word string) bool { return slices.Contains(foreignWords, word) }) {
			at := set.Position(node.Pos())
			found = append(found, breach("%s:%d: %s", filepath.Base(at.Filename), at.Line, text))
		}
	}
	ast.Inspect(parsed, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "infra" {
				return false
			}
		case *ast.Ident:
			report(n, n.Name)
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				if _, err := strconv.Unquote(n.Value); err == nil {
					report(n, n.Value)
				}
			}
		}
		return true
	})
	return found
}

// wordsOf splits a text and its CamelCase into lower-case words.
func wordsOf(text string) (words []string) {
	var word []rune
	flush := func() {
		if len(word) > 0 {
			words = append(words, strings.ToLower(string(word)))
			word = nil
		}
	}
	runes := []rune(text)
	for i, c := range runes {
		switch {
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			flush()
			continue
		case unicode.IsUpper(c) && i > 0 &&
			(unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			flush()
		}
		word = append(word, c)
	}
	flush()
	return words
}
