package farmspec

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/farmspec/farmspec"

// arrows says which packages of the project each package may import, by
// folder; "." is package farmspec and "x/..." is x with everything below. A
// folder that is not here is not drawn in ARCHITECTURE.md either.
var arrows = map[string][]string{
	"cmd/farmspec": {"features", "targetfile", "loadtest", "reports", "baseline", "bundle", "simfarm/...", "reference", "."},

	// The sound farm does not know its faults: mutant breaks it from outside.
	"simfarm":         {"simfarm/sim", "reference/web", "reference/saml", "reference/oidc", "reference/memstore", "reference/sqlstore", "reference/pgstore", "reference/redisstore", "reference/model", "reference", "ports", "."},
	"simfarm/mutant":  {"simfarm", "reference/web", "reference/saml", "reference/oidc", "reference", "."},
	"simfarm/variant": {"simfarm", "reference/web", "reference", "."},
	"simfarm/stub":    {"simfarm", "."},
	"simfarm/speed":   {"simfarm", "reference/web", "reference/memstore", "reference/sqlstore", "reference", "."},
	"simfarm/sim":     {},

	"reference/web":        {"reference/saml", "reference/oidc", "reference"},
	"reference/saml":       {},
	"reference/oidc":       {},
	"reference/memstore":   {"reference"},
	"reference/sqlstore":   {"reference"},
	"reference/pgstore":    {"reference"},
	"reference/redisstore": {"reference"},
	"reference/storetest":  {"reference"},

	// Servers for tests to talk to: no product code imports them.
	"reference/storetest/native": {},
	"reference/storetest/dbtest": {"reference/storetest/native", "ports"},

	"reference/model": {},
	"reference":       {},

	// The judge and the load generator know farms through package farmspec
	// alone, so nothing in them can favour the reference.
	"features": {"reference/model", "."},
	"loadtest": {"reference/model", "."},
	"reports":  {"."},
	"baseline": {"."},
	"bundle":   {"features", "reports", "."}, // concludes again from what it reads

	"targetfile": {"."},

	"ports": {},

	".": {},
}

// testArrows says what test files may import besides: the contract their
// package is held to, and farms to try the judge on.
var testArrows = map[string][]string{
	"cmd/farmspec":         {"ports"},
	"features":             {"simfarm/..."},
	"loadtest":             {"simfarm/..."},
	"bundle":               {"simfarm"},
	"simfarm":              {"features", "reference/storetest", "reference/storetest/dbtest"},
	"simfarm/mutant":       {"features"},
	"simfarm/variant":      {"features"},
	"simfarm/stub":         {"features"},
	"simfarm/speed":        {"reference/storetest/dbtest"},
	"reference":            {"reference/memstore", "reference/sqlstore", "reference/model"},
	"reference/web":        {"reference/memstore"},
	"reference/memstore":   {"reference/storetest", "reference/model"},
	"reference/sqlstore":   {"reference/storetest", "reference/model"},
	"reference/pgstore":    {"reference/storetest", "reference/storetest/dbtest", "reference/model"},
	"reference/redisstore": {"reference/storetest", "reference/storetest/dbtest", "reference/storetest/native", "reference/model", "ports"},
	"reference/storetest":  {"reference/memstore"},
}

func TestImportsPointOneWay(t *testing.T) {
	violations, files, err := misdirected(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no Go file was read")
	}
	for _, v := range violations {
		t.Error(v)
	}
}

// misdirected reads the imports of every Go file of the module in fsys and
// returns those that arrows does not have, and the number of files read.
// Folders with a go.mod of their own are other modules.
func misdirected(fsys fs.FS) (violations []string, files int, err error) {
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := name != "." && strings.HasPrefix(d.Name(), ".")
			_, other := fs.Stat(fsys, path.Join(name, "go.mod"))
			if hidden || d.Name() == "testdata" || name != "." && other == nil {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		files++
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.ImportsOnly)
		if err != nil {
			return fmt.Errorf("read imports: %w", err)
		}
		from := path.Dir(name)
		allowed, drawn := arrows[from]
		if !drawn {
			violations = append(violations, fmt.Sprintf("%s: folder %s is not drawn; give it its arrows in layers_test.go and ARCHITECTURE.md", name, from))
			return nil
		}
		if strings.HasSuffix(name, "_test.go") {
			allowed = slices.Concat(allowed, testArrows[from])
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			to, ours := strings.CutPrefix(imported+"/", module+"/")
			if !ours {
				continue
			}
			to = path.Clean(to)
			if to == from || slices.ContainsFunc(allowed, func(a string) bool { return covers(a, to) }) {
				continue // from itself: an external test package imports what it tests
			}
			violations = append(violations, fmt.Sprintf("%s: %s must not import %s; it may import %s",
				set.Position(spec.Pos()), from, to, listed(allowed)))
		}
		return nil
	})
	return violations, files, err
}

// covers reports whether an entry of arrows allows the folder.
func covers(allowed, folder string) bool {
	tree, whole := strings.CutSuffix(allowed, "/...")
	return folder == tree || whole && strings.HasPrefix(folder, tree+"/")
}

func listed(allowed []string) string {
	if len(allowed) == 0 {
		return "nothing of the project"
	}
	return strings.Join(allowed, ", ")
}

// The guard is tried on trees that must be found at fault, beside one that
// must not.
func TestMisdirectedImportsAreFound(t *testing.T) {
	const ours = module + "/"
	for _, tc := range []struct {
		name, file, text string
		want             string // in the violation; empty for none
	}{
		{"judge and nouns", "features/a.go", "package features\nimport _ \"" + module + "\"", ""},
		{"judge and model", "features/a.go", "package features\nimport _ \"" + ours + "reference/model\"", ""},
		{"judge and reference", "features/a.go", "package features\n\nimport _ \"" + ours + "reference\"", "features/a.go:3:8: features must not import reference; it may import reference/model, ."},
		{"nouns import nothing", "x.go", "package farmspec\nimport _ \"" + ours + "reports\"", "x.go:2:8: . must not import reports; it may import nothing of the project"},
		{"tree of the command", "cmd/farmspec/a.go", "package main\nimport _ \"" + ours + "simfarm/mutant\"", ""},
		{"test files may do more", "features/a_test.go", "package features\nimport _ \"" + ours + "simfarm\"", ""},
		{"what test files may, others may not", "features/a.go", "package features\nimport _ \"" + ours + "simfarm\"", "must not import simfarm"},
		{"external test", "reports/a_test.go", "package reports_test\nimport _ \"" + ours + "reports\"", ""},
		{"folder unknown", "helpers/a.go", "package helpers", "helpers is not drawn"},
		{"another project with our name in front", "reference/a.go", "package reference\nimport _ \"" + module + "-more/x\"", ""},
		{"another module", "targets/x/a.go", "package x\nimport _ \"" + ours + "simfarm\"", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tree := fstest.MapFS{tc.file: {Data: []byte(tc.text)}, "targets/x/go.mod": {Data: []byte("module x")}}
			got, _, err := misdirected(tree)
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == "" && len(got) > 0 {
				t.Errorf("found %q in an innocent file", got)
			}
			if tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)) {
				t.Errorf("found %q, want one violation with %q", got, tc.want)
			}
		})
	}
}
