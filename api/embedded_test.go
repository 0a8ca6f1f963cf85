package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoBodyIsHidden: the document of the API leaves out what a struct embeds under
// a name that is not exported, although it is in the answers.
func TestNoBodyIsHidden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			body, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range body.Fields.List {
				if of, ok := field.Type.(*ast.Ident); ok && len(field.Names) == 0 {
					require.True(t, of.IsExported(), "%s embeds %s", fset.Position(field.Pos()), of.Name)
				}
			}
			return true
		})
	}
}
