package reports

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/farmspec/farmspec"
)

// The files that [WriteLoad] leaves in its folder. Beside them the command
// leaves LoadResultsFile, every arrival in vegeta's format.
const (
	LoadFile        = "load.json"
	LoadLogFile     = "load.hlog"
	LoadPageFile    = "load.html"
	LoadResultsFile = "results.bin"
)

//go:embed load.schema.json
var loadSchema []byte

// LoadSchema returns the JSON Schema (2020-12) of load.json. The slice is the
// caller's.
func LoadSchema() []byte { return slices.Clone(loadSchema) }

var compiledLoad = sync.OnceValue(func() *jsonschema.Schema { return compile("load.schema.json", loadSchema) })

// WriteLoad writes a load report as load.json, load.hlog (an HdrHistogram log,
// a line for each interval) and load.html into dir, all or none, as [Write]
// does, and returns their paths.
func WriteLoad(dir string, r *farmspec.LoadReport) ([]string, error) {
	files, err := renderLoad(r)
	if err == nil {
		err = writeFiles(disk{}, dir, files)
	}
	if err != nil {
		return nil, fmt.Errorf("write load report to %s: %w", dir, err)
	}
	return []string{filepath.Join(dir, LoadFile), filepath.Join(dir, LoadLogFile), filepath.Join(dir, LoadPageFile)}, nil
}

func renderLoad(r *farmspec.LoadReport) ([]file, error) {
	r = completeLoad(r)
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	page, err := loadPage(r)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", LoadPageFile, err)
	}
	return []file{{LoadLogFile, whole(loadLog(r))}, {LoadPageFile, whole(page)}, {LoadFile, whole(text.Bytes())}}, nil
}

// completeLoad returns a copy in which every list and map the schema asks for
// is there, if empty.
func completeLoad(r *farmspec.LoadReport) *farmspec.LoadReport {
	c := *r
	c.Schema = farmspec.LoadSchema
	t := &c.Target
	t.Members, t.Hooks, t.Levels = list(t.Members), list(t.Hooks), list(t.Levels)
	c.Actions, c.Members, c.Intervals, c.Plan.Shards = list(c.Actions), list(c.Members), list(c.Intervals), list(c.Plan.Shards)
	if c.Outcomes == nil {
		c.Outcomes = map[string]uint64{}
	}
	return &c
}

// loadLog renders the intervals as HdrHistogram's log, version 1.3, whose
// instants are seconds and maxima milliseconds.
func loadLog(r *farmspec.LoadReport) []byte {
	var b bytes.Buffer
	start := r.Run.Started.UTC()
	fmt.Fprintf(&b, "#[Histogram log format version 1.3]\n#[StartTime: %.3f (seconds since epoch), %s]\n#[BaseTime: %.3f (seconds since epoch)]\n",
		float64(start.UnixMilli())/1000, start.Format(time.RFC3339), float64(start.UnixMilli())/1000)
	fmt.Fprintln(&b, `"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"`)
	for _, i := range r.Intervals {
		if i.Latency.HDR != "" {
			fmt.Fprintf(&b, "%.3f,%.3f,%.3f,%s\n", i.At.Seconds(), i.Length.Seconds(), float64(i.Latency.Max)/1e6, i.Latency.HDR)
		}
	}
	return b.Bytes()
}

// ReadLoad reads a load.json that [WriteLoad] made, as strictly as [Read].
func ReadLoad(path string) (*farmspec.LoadReport, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read load report: %w", err)
	}
	var r farmspec.LoadReport
	if err := decode(text, "load report", "load", farmspec.LoadSchema, compiledLoad(), &r); err != nil {
		return nil, fmt.Errorf("read load report %s: %w", path, err)
	}
	return &r, nil
}
