package reports

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// file is a rendered file under its final name. A large one comes in pieces,
// since a buffer that grows takes several times the room.
type file struct {
	name    string
	content [][]byte
}

// whole makes the content of one that is rendered in one piece.
func whole(content []byte) [][]byte { return [][]byte{content} }

// filesystem is what writing needs of the operating system; tests make it fail.
type filesystem interface {
	MkdirAll(dir string) error
	// Create opens a new file; it is an error if the name is taken.
	Create(name string) (outfile, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes the names of a folder durable.
	SyncDir(dir string) error
}

type outfile interface {
	Write([]byte) (int, error)
	Sync() error
	Close() error
}

// disk is the operating system's file system.
type disk struct{}

func (disk) MkdirAll(dir string) error    { return os.MkdirAll(dir, 0o777) }
func (disk) Rename(from, to string) error { return os.Rename(from, to) }
func (disk) Remove(name string) error     { return os.Remove(name) }

func (disk) Create(name string) (outfile, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}

func (disk) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some file systems cannot sync a folder; their renames are as durable as they get.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// writeFiles puts all files under their final names, or none of them.
func writeFiles(fsys filesystem, dir string, files []file) (err error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return mend(err)
	}
	for _, f := range files {
		// A rename would find out too, after others had succeeded.
		at := filepath.Join(dir, f.name)
		if info, err := os.Lstat(at); err == nil && info.IsDir() {
			return fmt.Errorf("%s is a folder and in the way; move it or choose another folder with --out", at)
		}
	}
	var leftover []string
	defer func() {
		if err != nil {
			for _, name := range leftover {
				_ = fsys.Remove(name) // the first error is the one to tell
			}
		}
	}()
	suffix := rand.Text()[:8]
	for _, f := range files {
		temporary := filepath.Join(dir, "."+f.name+"."+suffix)
		out, err := fsys.Create(temporary)
		if err != nil {
			return mend(err)
		}
		leftover = append(leftover, temporary)
		w := bufio.NewWriterSize(out, 1<<16)
		for _, piece := range f.content {
			if _, err = w.Write(piece); err != nil {
				break
			}
		}
		if err == nil {
			err = w.Flush()
		}
		if err == nil {
			err = out.Sync()
		}
		if closing := out.Close(); err == nil {
			err = closing
		}
		if err != nil {
			return mend(err)
		}
	}
	for i, f := range files {
		final := filepath.Join(dir, f.name)
		if err := fsys.Rename(leftover[i], final); err != nil {
			return mend(err)
		}
		leftover[i] = final
	}
	if err := fsys.SyncDir(dir); err != nil {
		return mend(err)
	}
	return nil
}

// mend adds the cure to an error whose cure is known.
func mend(err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "the disk is full: free some space or choose another folder with --out"
	case errors.Is(err, syscall.EFBIG):
		hint = "a limit on the size of files is reached (see ulimit -f): raise it or choose another folder with --out"
	case errors.Is(err, syscall.EROFS):
		hint = "the file system is read-only: choose another folder with --out"
	case errors.Is(err, fs.ErrPermission):
		hint = "you may not write there: change the folder's permissions or choose another with --out"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist), errors.Is(err, syscall.EISDIR):
		hint = "something with that name is in the way: move it or choose another folder with --out"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, hint)
}
