// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// fields are the fields of a document by their paths: names with dots between them, where an entry of a list is no step, and
// every key of a map is called *.
type fields map[string]bool

// source is the source of all packages of types.
type source struct {
	types map[string]declared // by package and name
	// texts are constants, readers are types that read themselves: what is in them nobody can tell.
	texts   map[string]string
	readers map[string]bool
	// kinds are the types of documents by their kinds.
	kinds map[string]string
}

// declared is a type, and what its file calls other packages.
type declared struct {
	expression ast.Expr
	home       string
	imports    map[string]string
}

// documents are the fields of every kind of document; that of the large one, which has no kind, is empty.
func documents(folder string) (map[string]fields, error) {
	s := source{types: map[string]declared{}, texts: map[string]string{}, readers: map[string]bool{}, kinds: map[string]string{"": "v1alpha1.Config"}}
	var registered []func() error
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		home, err := filepath.Rel(folder, filepath.Dir(name))
		if err == nil {
			registered = append(registered, s.read(file, filepath.ToSlash(home)))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, register := range registered { // when all constants are known
		if err := register(); err != nil {
			return nil, err
		}
	}
	all := map[string]fields{}
	for kind, name := range s.kinds {
		t, known := s.types[name]
		if !known {
			return nil, fmt.Errorf("documents of kind %q are of type %s, which is not declared", kind, name)
		}
		all[kind] = fields{}
		s.walk(all[kind], t, "", nil)
	}
	return all, nil
}

// read takes up what a file declares. What it returns takes up the kinds that it registers.
func (s source) read(file *ast.File, home string) func() error {
	imports := map[string]string{}
	for _, i := range file.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		below, is := strings.CutPrefix(path, module+"/config/types/")
		if !is {
			continue
		}
		name := below[strings.LastIndex(below, "/")+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		imports[name] = below
	}
	var calls []*ast.CallExpr
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			s.types[home+"."+n.Name.Name] = declared{expression: n.Type, home: home, imports: imports}
		case *ast.ValueSpec:
			s.readTexts(n, home)
		case *ast.FuncDecl:
			if n.Recv != nil && n.Name.Name == "UnmarshalYAML" {
				s.readers[home+"."+nameOf(n.Recv.List[0].Type)] = true
			}
		case *ast.CallExpr:
			if registers(n) {
				calls = append(calls, n)
			}
		}
		return true
	})
	return func() error { return s.register(calls, home) }
}

// readTexts takes up constants.
func (s source) readTexts(spec *ast.ValueSpec, home string) {
	for i, value := range spec.Values {
		if text, is := value.(*ast.BasicLit); is && text.Kind == token.STRING {
			s.texts[home+"."+spec.Names[i].Name], _ = strconv.Unquote(text.Value)
		}
	}
}

// registers is whether a call registers a kind of documents.
func registers(call *ast.CallExpr) bool {
	called, is := call.Fun.(*ast.SelectorExpr)
	return is && called.Sel.Name == "Register" && nameOf(called.X) == "registry" && len(call.Args) == 2
}

// register takes up kinds: the constant that names one, and the type of the one literal that is made for it.
func (s source) register(calls []*ast.CallExpr, home string) error {
	for _, call := range calls {
		kind, known := s.texts[home+"."+nameOf(call.Args[0])]
		if text, is := call.Args[0].(*ast.BasicLit); is {
			kind, _ = strconv.Unquote(text.Value)
			known = true
		}
		if !known {
			return fmt.Errorf("package %s registers documents of a kind that cannot be read", home)
		}
		var made []string
		ast.Inspect(call.Args[1], func(n ast.Node) bool {
			if literal, is := n.(*ast.CompositeLit); is {
				made = append(made, nameOf(literal.Type))
			}
			return true
		})
		if len(made) != 1 {
			return fmt.Errorf("documents of kind %s are of %d types", kind, len(made))
		}
		if name := home + "." + made[0]; name != s.kinds[""] { // the large one is registered by a name that nobody writes
			s.kinds[kind] = name
		}
	}
	return nil
}

// nameOf is the name of a type that is declared in the same package, or of a variable.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return nameOf(e.X)
	case *ast.Ident:
		return e.Name
	default:
		return ""
	}
}

// walk adds the fields of a type below a path.
func (s source) walk(found fields, t declared, path string, within []string) {
	at := func(e ast.Expr) declared { return declared{expression: e, home: t.home, imports: t.imports} }
	switch e := t.expression.(type) {
	case *ast.StarExpr:
		s.walk(found, at(e.X), path, within)
	case *ast.ArrayType:
		s.walk(found, at(e.Elt), path, within)
	case *ast.MapType:
		s.walk(found, at(e.Value), join(path, "*"), within)
	case *ast.Ident:
		s.enter(found, t.home+"."+e.Name, path, within)
	case *ast.SelectorExpr:
		if home, is := t.imports[nameOf(e.X)]; is {
			s.enter(found, home+"."+e.Sel.Name, path, within)
		}
	case *ast.StructType:
		for _, field := range e.Fields.List {
			name, inline := yamlName(field)
			switch {
			case inline:
				s.walk(found, at(field.Type), path, within)
			case name != "-":
				found[join(path, name)] = true
				s.walk(found, at(field.Type), join(path, name), within)
			}
		}
	}
}

// enter walks a type by its name, unless it is within itself.
func (s source) enter(found fields, name, path string, within []string) {
	t, known := s.types[name]
	if !known || s.readers[name] {
		return
	}
	if slices.Contains(within, name) {
		return
	}
	s.walk(found, t, path, append(slices.Clip(within), name))
}

// yamlName is what a field is called in a document.
func yamlName(field *ast.Field) (name string, inline bool) {
	if len(field.Names) > 0 {
		name = strings.ToLower(field.Names[0].Name)
		if !field.Names[0].IsExported() {
			name = "-"
		}
	} else {
		name = strings.ToLower(nameOf(field.Type))
	}
	if field.Tag == nil {
		return name, false
	}
	tag, _ := strconv.Unquote(field.Tag.Value)
	own, options, _ := strings.Cut(reflect.StructTag(tag).Get("yaml"), ",")
	if own != "" {
		name = own
	}
	return name, strings.Contains(options, "inline")
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
