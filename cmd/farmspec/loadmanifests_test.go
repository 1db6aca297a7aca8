package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/farmspec/farmspec/targetfile"
)

// The Job's parts are as many as its pods, its flags exist, and its target file
// is one.
func TestLoadJob(t *testing.T) {
	text, err := os.ReadFile("../../deploy/load-job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type document struct {
		Kind string
		Data map[string]string
		Spec struct {
			CompletionMode           string `yaml:"completionMode"`
			Completions, Parallelism int
			BackoffLimit             *int `yaml:"backoffLimit"`
			Template                 struct {
				Spec struct {
					RestartPolicy string `yaml:"restartPolicy"`
					Containers    []struct {
						Args         []string
						VolumeMounts []struct {
							Name, MountPath, SubPathExpr string
						} `yaml:"volumeMounts"`
					}
				}
			}
		}
	}
	jobs, files := 0, 0
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var doc document
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		switch doc.Kind {
		case "ConfigMap":
			files++
			path := filepath.Join(t.TempDir(), "target.yaml")
			t.Setenv("SHOP_PASSWORD", "secret")
			if err := os.WriteFile(path, []byte(doc.Data["target.yaml"]), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := targetfile.Load(path); err != nil {
				t.Errorf("the target file: %v", err)
			}
		case "Job":
			jobs++
			s := doc.Spec
			if s.CompletionMode != "Indexed" || s.Completions != s.Parallelism || s.BackoffLimit == nil || *s.BackoffLimit != 0 || s.Template.Spec.RestartPolicy != "Never" {
				t.Errorf("%+v: want an indexed Job whose parts run at once and once", s)
			}
			args := s.Template.Spec.Containers[0].Args
			c := newLoad()
			if err := c.ParseFlags(args[1:]); err != nil || args[0] != "load" || c.Flags().NArg() != 1 {
				t.Fatalf("%v: %v", args, err)
			}
			t.Setenv("JOB_COMPLETION_INDEX", "0")
			if part, err := shardOf(c.Flag("shard").Value.String()); err != nil || part.Index != 1 || part.Of != s.Completions {
				t.Errorf("the first of %d pods makes part %+v, %v", s.Completions, part, err)
			}
		}
	}
	if jobs != 1 || files != 1 {
		t.Errorf("%d Jobs and %d target files, want one of each", jobs, files)
	}
}

// Replicas of the compose service take one part each, and one too many takes none.
func TestLoadReplicas(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	text, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services struct {
			Load struct {
				Command     []string
				Deploy      struct{ Replicas int }
				Environment struct {
					Parts int `yaml:"PARTS"`
				}
			}
			Merge struct{ Command string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	load := file.Services.Load
	if load.Deploy.Replicas != load.Environment.Parts || strings.Count(file.Services.Merge.Command, "/loads/") != load.Environment.Parts {
		t.Errorf("%d replicas make %d parts, and %q joins them", load.Deploy.Replicas, load.Environment.Parts, file.Services.Merge.Command)
	}
	// The script as compose hands it over, in another folder, with a farmspec
	// that prints what it was told.
	dir := t.TempDir()
	script := strings.NewReplacer("$$", "$", "/report", dir).Replace(load.Command[0])
	if err := os.WriteFile(filepath.Join(dir, "farmspec"), []byte("#!/bin/sh\necho \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	outputs := make(chan string)
	const tries = 6
	for range tries {
		go func() {
			c := exec.CommandContext(t.Context(), shell, "-c", script)
			c.Env = append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"), "PARTS=4", "START_AT=")
			out, _ := c.Output() // the exit code is in what was said
			outputs <- string(out)
		}()
	}
	var parts []string
	for range tries {
		out := <-outputs
		if out == "" {
			continue
		}
		_, after, _ := strings.Cut(out, "--shard ")
		parts = append(parts, strings.Fields(after)[0])
		args := strings.Fields(strings.ReplaceAll(out, "--start-at ", ""))
		if err := newLoad().ParseFlags(args[1:]); err != nil {
			t.Errorf("%s: %v", out, err)
		}
	}
	slices.Sort(parts)
	if !slices.Equal(parts, []string{"1/4", "2/4", "3/4", "4/4"}) {
		t.Errorf("%d replicas took the parts %v, want each once", tries, parts)
	}
}
