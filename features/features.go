// Package features is the judge: the Gherkin scenarios, the steps that carry
// them out against a farmspec.Target, and the runner that plans, runs, checks
// and reports them.
//
// It knows a farm only by its Target and hooks and imports no farm, so nothing
// in it can favour the reference.
package features

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	gherkin "github.com/cucumber/gherkin/go/v26"
	messages "github.com/cucumber/messages/go/v21"

	"github.com/farmspec/farmspec"
)

//go:embed *.feature
var embedded embed.FS

// Scenario is one Gherkin scenario, or one row of an outline, with what its
// tags declare:
//
//	@rotate.old-token-refused   the stable ID: lower case, with a dot
//	@WF-4.1                     a requirement it tests; at least one
//	@level:B                    the level of observation it needs: B, G or W; B when absent
//	@mode:claimed               only with this hand-off mode (several: any of them)
//	@policy:strict              only under this rotation policy (several: any of them)
//	@topology:split-domain      only in this topology (several: any of them)
//	@replay:revoke-family       only with this answer to spent tokens
//	@feature:log-out            only where the target has this ability (all of several)
//	@needs:trace                a hook it needs
//	@members:3                  how many members it needs; 2 when absent
//	@exclusive                  disturbs others: gets a private farm, or runs alone
//	@time                       lets time pass: by the clock hook, and then as an exclusive one, or by waiting
//	@fault:F14                  a fault of the catalogue it convicts
type Scenario struct {
	ID, Name, Feature, File string
	Line                    int
	Tags                    []string
	Requirements            []string
	Level                   farmspec.Level
	Modes                   []string
	Policies                []string
	Topologies              []string
	Replays                 []string
	Features                []string
	Needs                   []string
	Faults                  []string
	Members                 int
	Exclusive, Time         bool

	steps []string // their texts
}

var (
	idTag          = regexp.MustCompile(`^@[a-z][a-z0-9-]*\.[a-z0-9.-]+$`)
	requirementTag = regexp.MustCompile(`^@[A-Z]+(-[A-Z]+)*-[0-9A-Z][0-9A-Za-z.]*$`)
)

// feature is a parsed feature file.
type feature struct {
	name, path string
	content    []byte
	scenarios  []*Scenario
}

// Scenarios parses the feature files of fsys, or the built-in ones for nil,
// and returns their scenarios by file and line. A tag with no meaning, a
// scenario without an ID or a requirement, and an ID used twice are errors.
func Scenarios(fsys fs.FS) ([]*Scenario, error) {
	parsed, err := parse(fsys)
	if err != nil {
		return nil, err
	}
	var all []*Scenario
	for _, f := range parsed {
		all = append(all, f.scenarios...)
	}
	return all, nil
}

func parse(fsys fs.FS) ([]feature, error) {
	if fsys == nil {
		fsys = embedded
	}
	paths, err := fs.Glob(fsys, "*.feature")
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("read features: no *.feature file")
	}
	var parsed []feature
	where := map[string]string{}
	for _, path := range paths {
		content, err := fs.ReadFile(fsys, path)
		if err != nil {
			return nil, fmt.Errorf("read features: %w", err)
		}
		f, err := parseFile(path, content)
		if err != nil {
			return nil, err
		}
		for _, s := range f.scenarios {
			at := fmt.Sprintf("%s:%d", path, s.Line)
			if other, ok := where[s.ID]; ok {
				return nil, fmt.Errorf("%s: scenario ID %q is used at %s too", at, s.ID, other)
			}
			where[s.ID] = at
		}
		parsed = append(parsed, f)
	}
	return parsed, nil
}

func parseFile(path string, content []byte) (feature, error) {
	ids := (&messages.Incrementing{}).NewId
	doc, err := gherkin.ParseGherkinDocument(bytes.NewReader(content), ids)
	if err != nil {
		return feature{}, fmt.Errorf("%s: %w", path, err)
	}
	if doc.Feature == nil {
		return feature{}, fmt.Errorf("%s: no feature in the file", path)
	}
	f := feature{name: doc.Feature.Name, path: path, content: content}
	lines, rows := astNodes(doc)
	for _, p := range gherkin.Pickles(*doc, path, ids) {
		s := &Scenario{
			Name: p.Name, Feature: f.name, File: path, Line: lines[p.AstNodeIds[0]],
			Level: farmspec.Black, Members: 2,
		}
		for _, step := range p.Steps {
			s.steps = append(s.steps, step.Text)
		}
		for _, t := range p.Tags {
			s.Tags = append(s.Tags, t.Name)
		}
		if err := s.readTags(); err != nil {
			return feature{}, fmt.Errorf("%s:%d: %w", path, s.Line, err)
		}
		if len(p.AstNodeIds) > 1 {
			row := rows[p.AstNodeIds[1]]
			s.ID += "/" + slug(row.first)
			s.Line = row.line
		}
		f.scenarios = append(f.scenarios, s)
	}
	return f, nil
}

type exampleRow struct {
	first string
	line  int
}

// astNodes maps scenario IDs to lines, and example rows to their first cell.
func astNodes(doc *messages.GherkinDocument) (map[string]int, map[string]exampleRow) {
	lines, rows := map[string]int{}, map[string]exampleRow{}
	add := func(sc *messages.Scenario) {
		if sc == nil {
			return
		}
		lines[sc.Id] = int(sc.Location.Line)
		for _, ex := range sc.Examples {
			for _, r := range ex.TableBody {
				rows[r.Id] = exampleRow{r.Cells[0].Value, int(r.Location.Line)}
			}
		}
	}
	for _, c := range doc.Feature.Children {
		add(c.Scenario)
		if c.Rule != nil {
			for _, rc := range c.Rule.Children {
				add(rc.Scenario)
			}
		}
	}
	return lines, rows
}

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

func slug(s string) string {
	return strings.Trim(notSlug.ReplaceAllString(strings.ToLower(s), "-"), "-")
}

func (s *Scenario) readTags() error {
	for _, tag := range s.Tags {
		key, value, _ := strings.Cut(strings.TrimPrefix(tag, "@"), ":")
		switch {
		case idTag.MatchString(tag):
			if s.ID != "" {
				return fmt.Errorf("two scenario IDs, @%s and %s", s.ID, tag)
			}
			s.ID = key
		case requirementTag.MatchString(tag):
			if _, ok := farmspec.RequirementByID(key); !ok {
				return fmt.Errorf("requirement %s is not in the catalogue", tag)
			}
			s.Requirements = append(s.Requirements, key)
		case key == "level" && slices.Contains([]string{"B", "G", "W"}, value):
			s.Level = farmspec.Level(value)
		case key == "mode":
			s.Modes = append(s.Modes, value)
		case key == "policy":
			s.Policies = append(s.Policies, value)
		case key == "topology":
			s.Topologies = append(s.Topologies, value)
		case key == "replay":
			s.Replays = append(s.Replays, value)
		case key == "feature":
			if farmspec.Features[value] == "" {
				return fmt.Errorf("%s names no ability", tag)
			}
			s.Features = append(s.Features, value)
		case key == "needs":
			if _, ok := farmspec.HookLevel[value]; !ok {
				return fmt.Errorf("%s names no hook", tag)
			}
			s.Needs = append(s.Needs, value)
		case key == "members":
			if _, err := fmt.Sscanf(value, "%d", &s.Members); err != nil {
				return fmt.Errorf("%s: want a number", tag)
			}
		case key == "fault":
			s.Faults = append(s.Faults, value)
		case tag == "@exclusive":
			s.Exclusive = true
		case tag == "@time":
			s.Time = true
		default:
			return fmt.Errorf("tag %s has no meaning", tag)
		}
	}
	if s.ID == "" {
		return fmt.Errorf("scenario %q has no ID tag such as @rotate.old-token-refused", s.Name)
	}
	if len(s.Requirements) == 0 {
		return fmt.Errorf("scenario @%s names no requirement", s.ID)
	}
	for _, hook := range s.Needs {
		if order(farmspec.HookLevel[hook]) > order(s.Level) {
			return fmt.Errorf("scenario @%s needs the %s hook, which is level %s, and declares level %s",
				s.ID, hook, farmspec.HookLevel[hook], s.Level)
		}
	}
	return nil
}

func order(l farmspec.Level) int { return strings.Index("BGW", string(l)) }

// digest identifies the features a verdict came from.
func digest(parsed []feature) string {
	h := sha256.New()
	for _, f := range parsed {
		fmt.Fprintf(h, "%s %d\n", f.path, len(f.content))
		h.Write(f.content)
	}
	return hex.EncodeToString(h.Sum(nil))
}
