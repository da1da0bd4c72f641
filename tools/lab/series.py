#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The patch series: overlay files plus quilt patches, and what is made of them.

A patch in series/ is a mail: From, Subject, any number of "Overlay:" lines,
a blank line, the message, "---", and a diff (which may be missing).  An
overlay line names files of this repository that the patch adds to the kernel,
by their path there, or as "here=there" where the paths differ.

A folder of series/ is a topic: a series that is mailed by itself, with the text
of its cover letter in "cover".  Patches are signed off by the person who mails.
"""

import argparse
import collections
import email.utils
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERIES = ROOT / "series"
# Everything under these belongs to the kernel, and so to exactly one patch. Not
# so tools/testing/pgtable, which runs the library outside of a kernel.
OVERLAY_DIRS = ("drivers", "include", "Documentation")
OVERLAY_FILES = ("Kconfig.snippet",)
DATE = "Thu, 1 Jan 2026 00:00:00 +0000"   # for patches without a Date: line
IDENTITY = ("vtd-lab", "vtd-lab@localhost")
WIDTH = 75      # columns of a mail, as checkpatch.pl counts them

Patch = collections.namedtuple(
    "Patch", "name author date subject message overlay diff files")


class SeriesError(Exception):
    """Something a person has to put right; the text says what."""


# ---- reading ---------------------------------------------------------------

def diff_files(diff, name):
    """The kernel paths that a diff touches, in order."""
    files = []
    lines = diff.splitlines()
    for old, new in zip(lines, lines[1:]):
        if not (old.startswith("--- ") and new.startswith("+++ ")):
            continue
        for side in (old, new):
            path = side[4:].split("\t")[0].strip()
            if path == "/dev/null":
                continue
            if "/" not in path:
                raise SeriesError(f"{name}: diff path {path} is not of -p1")
            path = path.split("/", 1)[1]
            if path not in files:
                files.append(path)
    return files


def topic(patch):
    """The folder of a patch, "" if it belongs to no topic."""
    return pathlib.PurePath(patch.name).parent.name.strip(".")


def parse_patch(text, name):
    head, _, rest = text.partition("\n\n")
    fields = collections.defaultdict(list)
    key = None
    for line in head.splitlines():
        if line[:1] in " \t" and key:
            fields[key][-1] += " " + line.strip()
        elif re.match(r"[A-Za-z-]+:", line):
            key, _, value = line.partition(":")
            key = key.lower()
            fields[key].append(value.strip())
        elif not line.startswith("From "):
            raise SeriesError(f"{name}: not a mail header line: {line}")
    for key in ("from", "subject"):
        if len(fields[key]) != 1:
            raise SeriesError(f"{name}: needs exactly one {key.title()}: line")
    subject = re.sub(r"^\[PATCH[^\]]*\]\s*", "", fields["subject"][0])
    message, found, diff = ("\n" + rest).partition("\n---\n")
    if not found:
        raise SeriesError(f"{name}: no --- line after the message")
    message = message.strip("\n")
    overlay = {}
    for entry in " ".join(fields["overlay"]).split():
        here, _, there = entry.partition("=")
        overlay[there or here] = here
    start = re.search(r"^(diff --git |--- )", diff, re.M)
    diff = diff[start.start():] if start else ""
    # format-patch's signature is not part of the last hunk
    diff = re.sub(r"\n-- \n[^\n]*\n*\Z", "\n", diff)
    patch = Patch(name, fields["from"][0], (fields["date"] or [DATE])[0],
                  subject, message, overlay, diff, diff_files(diff, name))
    if not patch.files and not overlay:
        raise SeriesError(f"{name}: neither overlay files nor a diff")
    return patch


def read_series():
    listing = SERIES / "series"
    if not listing.exists():
        return []
    names = [line.split("#")[0].strip() for line in
             listing.read_text().splitlines()]
    patches = []
    for name in filter(None, names):
        path = SERIES / name
        if not path.exists():
            raise SeriesError(f"series/series names {name}, which is not there")
        patches.append(parse_patch(path.read_text(), name))
    check_series(patches)
    return patches


def check_series(patches):
    """Each overlay file in exactly one patch, and changed by no diff."""
    owner, subjects, topics = {}, {}, []
    for patch in patches:
        if topics[-1:] != [topic(patch)]:
            if topic(patch) in topics:
                raise SeriesError(f"topic {topic(patch)} is interrupted by "
                                  f"{topics[-1]}")
            topics.append(topic(patch))
        if subjects.setdefault(patch.subject, patch.name) != patch.name:
            raise SeriesError(f"{patch.name} and {subjects[patch.subject]} "
                              "have the same subject")
        for there, here in patch.overlay.items():
            if there in owner:
                raise SeriesError(f"{there} is named by {owner[there]} and by "
                                  f"{patch.name}")
            if not (ROOT / here).is_file():
                raise SeriesError(f"{patch.name} names {here}, which is not there")
            owner[there] = patch.name
    for patch in patches:
        for path in patch.files:
            if path in owner:
                raise SeriesError(
                    f"{patch.name} changes {path}, an overlay file that "
                    f"{owner[path]} adds: change the overlay file instead")


def repository_overlay():
    """The files of this repository that are there for the kernel."""
    found = [f for f in OVERLAY_FILES if (ROOT / f).is_file()]
    for top in OVERLAY_DIRS:
        for path in sorted((ROOT / top).rglob("*")):
            if path.is_file() and not path.name.endswith(("~", ".orig", ".rej")):
                found.append(str(path.relative_to(ROOT)))
    return found


# ---- applying --------------------------------------------------------------

def copy(src, dst):
    """A copy of its own (never a hard link), mode included."""
    dst.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(src, dst)


def apply_step(patch, tree):
    """Overlay files first, then the diff, without fuzz."""
    for there, here in patch.overlay.items():
        copy(ROOT / here, tree / there)
    if not patch.diff:
        return
    run = subprocess.run(
        ["patch", "-p1", "-F0", "-f", "--no-backup-if-mismatch",
         "--reject-file=-", "-d", tree],
        input=patch.diff, text=True, capture_output=True)
    if run.returncode == 0:
        return
    failed, current = [], "?"
    for line in run.stdout.splitlines():
        match = re.match(r"(?:checking|patching) file (\S+)", line)
        current = match.group(1) if match else current
        if "FAILED" in line or "No file to patch" in line:
            failed.append(f"  {current}: {line.strip()}")
    raise SeriesError(f"{patch.name} does not apply:\n" +
                      "\n".join(failed or [run.stdout + run.stderr]))


def fetch_pristine(patches, pristine, tree):
    """The files that the diffs change, as the kernel has them."""
    for path in sorted({f for p in patches for f in p.files}):
        if (pristine / path).is_file():
            copy(pristine / path, tree / path)


def replace(src, dst):
    """dst becomes a copy of src by renaming, so that hard links of dst and
    readers of dst keep the old contents."""
    dst.parent.mkdir(parents=True, exist_ok=True)
    temp = dst.with_name(dst.name + ".lab-new")
    shutil.copy(src, temp)
    os.replace(temp, dst)


def same(a, b):
    return (a.is_file() and b.is_file() and a.read_bytes() == b.read_bytes()
            and a.stat().st_mode & 0o111 == b.stat().st_mode & 0o111)


def assemble(patches, pristine, dest, manifest):
    """Bring dest (a copy of pristine) to the patched state, touching only
    files whose contents change.  manifest remembers which files differ."""
    with tempfile.TemporaryDirectory() as temp:
        stage = pathlib.Path(temp)
        fetch_pristine(patches, pristine, stage)
        for patch in patches:
            apply_step(patch, stage)
        ours = {str(p.relative_to(stage)) for p in stage.rglob("*")
                if p.is_file()}
        before = set(manifest.read_text().split("\n")[:-1]) \
            if manifest.exists() else set()
        touched = sorted({f for p in patches for f in p.files} | ours | before)
        # written first: after an interruption all of them are looked at again
        manifest.write_text("".join(f + "\n" for f in touched))
        changed = []
        for path in touched:
            if path in ours:
                want = stage / path
            elif path in before and not any(path in p.files for p in patches):
                want = pristine / path        # left the series: as it was
            else:
                want = None                   # removed by a patch
            have = dest / path
            if want is None or not want.exists():
                if have.exists():
                    have.unlink()
                    changed.append(path)
            elif not same(want, have):
                replace(want, have)
                changed.append(path)
        manifest.write_text("".join(
            f + "\n" for f in sorted(ours | {f for p in patches
                                             for f in p.files})))
    return changed


# ---- fixes for newer kernels ---------------------------------------------

def export_mainline(out, sender=None):
    """The mails of series/mainline, which are not of the series' kernel."""
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("[0-9][0-9][0-9][0-9]-*.patch"):
        old.unlink()
    for path in sorted((SERIES / "mainline").glob("[0-9]*.patch")):
        head, rest = path.read_text().split("\n---\n", 1)
        if sender:
            head = re.sub(r"^From: .*", lambda _: f"From: {sender}", head)
            trailers = re.search(r"\n\n([A-Z][A-Za-z-]+: [^\n]+(\n|$))+\Z", head)
            head += ("\n" if trailers else "\n\n") + f"Signed-off-by: {sender}"
        (out / path.name).write_text(head + "\n---\n" + rest)
        yield out / path.name


# ---- git: mails and the development tree -----------------------------------

def git(repo, *args, text_in=None, env=None, check=True):
    run = subprocess.run(
        ["git", "-C", str(repo), *args], input=text_in, text=True,
        capture_output=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null",
             "GIT_CONFIG_NOSYSTEM": "1", "TZ": "UTC", **(env or {})})
    if check and run.returncode:
        raise SeriesError(f"git {args[0]}: {(run.stderr or run.stdout).strip()}")
    return run.stdout


def committer(date):
    return {"GIT_COMMITTER_NAME": IDENTITY[0],
            "GIT_COMMITTER_EMAIL": IDENTITY[1], "GIT_COMMITTER_DATE": date}


def commit_base(repo, what):
    """Start a repository with everything that is in the folder."""
    git(repo, "init", "-q", "-b", "flpt")
    git(repo, "config", "core.looseCompression", "1")
    git(repo, "config", "gc.auto", "0")
    git(repo, "add", "-Af", ".")
    git(repo, "commit", "-q", "--allow-empty", "-m", what,
        f"--author={IDENTITY[0]} <{IDENTITY[1]}>", f"--date={DATE}",
        env=committer(DATE))
    git(repo, "tag", "lab-base")


def commit_step(repo, patch):
    apply_step(patch, repo)
    git(repo, "add", "-Af", "--", *patch.overlay, *patch.files)
    git(repo, "commit", "-q", "-F", "-", "--cleanup=verbatim",
        f"--author={patch.author}", f"--date={patch.date}",
        env=committer(patch.date),
        text_in=f"{patch.subject}\n\n{patch.message}\n")


def sign_off(patch, sender):
    """The patch as its sender mails it, who replaces its author as maintainer, too."""
    line = f"Signed-off-by: {sender}"
    message = patch.message
    if line not in message.splitlines():
        trailers = re.search(r"(^|\n)([A-Z][A-Za-z-]+: [^\n]+(\n|$))+\Z", message)
        message += ("\n" if trailers else "\n\n") + line
    diff = patch.diff.replace(f"\n+M:\t{patch.author}\n", f"\n+M:\t{sender}\n")
    return patch._replace(author=sender, message=message, diff=diff)


def chosen(patches, name):
    """Those of a topic, and those that it needs: all in front of them."""
    if name is None:
        return [], patches
    numbers = [i for i, p in enumerate(patches) if topic(p) == name]
    if not numbers:
        raise SeriesError(f"{name} is no topic: there are " +
                          " ".join(sorted({topic(p) for p in patches} - {""})))
    return patches[:numbers[0]], patches[numbers[0]:numbers[-1] + 1]


def read_cover(name):
    """Subject and text of the cover letter of a topic."""
    path = SERIES / name / "cover"
    if not path.is_file():
        raise SeriesError(f"the topic {name} has no cover")
    subject, _, text = path.read_text().partition("\n\n")
    return subject.strip(), text.strip()


def topic_sizes(patches):
    """The topics in order, with the number of patches of each."""
    return collections.Counter(filter(None, map(topic, patches)))


def about(patches, name, url):
    """What a reader of a mail needs who does not have this repository."""
    where = f": {url}" if url else "; ask the sender."
    lines = textwrap.wrap(
        "The make targets, guest programs, benchmarks and paths that are no part of "
        f"the kernel are in the repository that this series was exported from{where}",
        WIDTH, break_long_words=False, break_on_hyphens=False)
    lines += ["", *textwrap.wrap(
        f'This is one topic of a larger work. Names like "{name}" in the text are '
        "these topics; a number alone is all that begin with it. They apply in this "
        "order:", WIDTH, break_on_hyphens=False), ""]
    for other, size in topic_sizes(patches).items():
        lines += [f"  {other} ({size} patch{'es' if size > 1 else ''}"
                  f"{', this one' if other == name else ''})",
                  f"    {read_cover(other)[0]}"]
    return "\n".join(lines)


def write_cover(mail, patches, name, url):
    """Subject and text of the topic's cover instead of git's placeholders."""
    subject, text = read_cover(name)
    cover = mail.read_text()
    cover = cover.replace("*** SUBJECT HERE ***", subject)
    mail.write_text(cover.replace("*** BLURB HERE ***",
                                  f"{text}\n\n{about(patches, name, url)}"))


def export(patches, pristine, out, name=None, sender=None, url=None):
    """NNNN-subject.patch files for git am, the same ones every time: of all, or of
    the topic called name, with its cover letter."""
    needed, wanted = chosen(patches, name)
    if sender:
        wanted = [sign_off(patch, sender) for patch in wanted]
    author = email.utils.parseaddr(sender or wanted[0].author if wanted else "")
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("[0-9][0-9][0-9][0-9]-*.patch"):
        old.unlink()
    with tempfile.TemporaryDirectory() as temp:
        repo = pathlib.Path(temp)
        fetch_pristine(patches, pristine, repo)
        commit_base(repo, "kernel")
        for patch in needed + wanted:
            commit_step(repo, patch)
        if wanted:
            git(repo, "format-patch", "-q", "--zero-commit", "--signature=",
                *(["--cover-letter", "-n"] if name else []),
                "-o", str(out.resolve()), f"HEAD~{len(wanted)}",
                env={"GIT_COMMITTER_NAME": author[0],
                     "GIT_COMMITTER_EMAIL": author[1],
                     "GIT_COMMITTER_DATE": DATE})
    mails = sorted(out.glob("[0-9][0-9][0-9][0-9]-*.patch"))
    if name:
        write_cover(mails[0], patches, name, url)
    return mails


def tree_is_clean(tree):
    """True when the tree holds nothing that is not in the series."""
    made = git(tree, "rev-parse", "-q", "--verify", "lab-made", check=False)
    head = git(tree, "rev-parse", "-q", "--verify", "HEAD", check=False)
    return made and made == head and not git(tree, "status", "--porcelain")


def make_tree(patches, pristine, tree, base):
    """A work tree with a commit for the kernel and one for each patch."""
    if tree.exists():
        if not tree_is_clean(tree):
            raise SeriesError(f"{tree} has changes that are not in the series: "
                              "make refresh takes them over, or remove it")
        if git(tree, "log", "-1", "--format=%s", "lab-base").strip() == base:
            git(tree, "checkout", "-q", "-f", "-B", "flpt", "lab-base")
            finish_tree(patches, tree)
            return
    part = tree.with_name(tree.name + ".part")
    for old in (tree, part):
        shutil.rmtree(old, ignore_errors=True)
    print("lab: copying the kernel into a git work tree, a minute or two",
          file=sys.stderr)
    subprocess.run(["cp", "-a", str(pristine), str(part)], check=True)
    shutil.rmtree(part / ".git", ignore_errors=True)
    commit_base(part, base)
    part.rename(tree)
    finish_tree(patches, tree)


def finish_tree(patches, tree):
    for patch in patches:
        commit_step(tree, patch)
    git(tree, "tag", "-f", "lab-made")


def read_commits(tree):
    """The commits on top of the kernel as (author, subject, message, id)."""
    if git(tree, "status", "--porcelain", "--untracked-files=no"):
        raise SeriesError(f"{tree} has changes that are not committed")
    if git(tree, "rev-list", "--merges", "lab-base..HEAD"):
        raise SeriesError("the tree has merges: a series is a straight line")
    commits = []
    for commit in git(tree, "rev-list", "--reverse",
                      "lab-base..HEAD").split():
        author, date, subject, message = git(
            tree, "log", "-1", "--format=%an <%ae>%x00%aD%x00%s%x00%b",
            commit).split("\0")
        if re.match(r"(fixup|squash|amend)! ", subject):
            raise SeriesError(f"'{subject}' waits for "
                              "git rebase -i --autosquash lab-base")
        commits.append((commit, author, date, subject, message.strip("\n")))
    return commits


def essence(diff):
    """A diff without what moves with the kernel below it."""
    return [re.sub(r"^@@ .*", "@@", line) for line in diff.splitlines()
            if not re.match(r"diff --git |index ", line)]


def commit_patch(tree, base_files, known, entry, owner):
    """One commit as (Patch, {here: bytes}); owner: kernel path -> subject."""
    commit, author, date, subject, message = entry
    old = known.get(subject)
    here_of = {t: h for p in known.values() for t, h in p.overlay.items()}
    overlay, contents, changed = {}, {}, []
    names = git(tree, "diff-tree", "-r", "--no-renames", "--name-only",
                "--no-commit-id", commit).split("\n")[:-1]
    for path in names:
        if path in base_files:
            changed.append(path)
            continue
        if path in owner:
            raise SeriesError(
                f"'{subject}' changes {path}, which '{owner[path]}' adds: a new "
                "file belongs to one patch as a whole (git commit --fixup, then "
                "git rebase -i --autosquash lab-base)")
        owner[path] = subject
        here = here_of.get(path, path)
        overlay[path] = here
        contents[here] = subprocess.run(
            ["git", "-C", str(tree), "show", f"{commit}:{path}"],
            check=True, capture_output=True).stdout
    diff = git(tree, "diff-tree", "-r", "-p", "--no-commit-id", "--no-renames",
               commit, "--", *changed) if changed else ""
    name = old.name if old else None
    patch = Patch(name, author, date, subject, message, overlay, diff, changed)
    return patch, contents


def unchanged(old, new):
    return (old is not None and old.message == new.message and
            old.author == new.author and old.overlay == new.overlay and
            essence(old.diff) == essence(new.diff))


def patch_text(tree, patch):
    lines = [f"From: {patch.author}", f"Date: {patch.date}",
             f"Subject: [PATCH] {patch.subject}"]
    for there, here in sorted(patch.overlay.items()):
        lines.append("Overlay: " +
                     (here if here == there else f"{here}={there}"))
    stat = git(tree, "apply", "--stat", text_in=patch.diff) if patch.diff else ""
    return "\n".join(lines + ["", patch.message, "---", stat + "\n" + patch.diff]
                     if patch.diff else lines + ["", patch.message, "---", ""])


def file_name(number, subject):
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", subject).strip("-.")[:52]
    return f"{number:04d}-{slug.strip('-.')}.patch"


def refresh(patches, tree):
    """Take the tree's commits back into series/ and the overlay files."""
    known = {p.subject: p for p in patches}
    base_files = set(git(tree, "ls-tree", "-r", "--name-only",
                         "lab-base").split("\n"))
    owner, result, files = {}, [], {}
    for number, entry in enumerate(read_commits(tree), 1):
        patch, contents = commit_patch(tree, base_files, known, entry, owner)
        if not patch.name:
            folder = pathlib.PurePath(result[-1].name if result else "").parent
            patch = patch._replace(
                name=str(folder / file_name(number, patch.subject)))
        result.append(patch)
        files.update(contents)
    # everything has been read and found good: now write
    for here, data in files.items():
        path = ROOT / here
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            print(f"  {here}")
    for patch in result:
        if not unchanged(known.get(patch.subject), patch):
            (SERIES / patch.name).write_text(patch_text(tree, patch))
            print(f"  series/{patch.name}")
    for old in patches:
        if old.name not in {p.name for p in result}:
            (SERIES / old.name).unlink()
            print(f"  series/{old.name} removed")
        for here in old.overlay.values():
            if here not in files:
                (ROOT / here).unlink(missing_ok=True)
                print(f"  {here} removed")
    if [p.name for p in result] != [p.name for p in patches]:
        listing = SERIES / "series"
        comments = [line for line in listing.read_text().splitlines()
                    if line.startswith("#")] if listing.exists() else []
        listing.write_text("\n".join(comments + [p.name for p in result]) + "\n")
        print("  series/series")
    git(tree, "tag", "-f", "lab-made")


# ---- command line ----------------------------------------------------------

def command_check(args):
    """each overlay file is named by one patch; covers and messages are not too wide"""
    patches = read_series()
    named = {h for p in patches for h in p.overlay.values()}
    lost = [f for f in repository_overlay() if f not in named]
    if lost:
        raise SeriesError("no patch names " + ", ".join(lost))
    texts = {f"{name}/cover": "\n".join(read_cover(name))
             for name in topic_sizes(patches)}
    texts |= {p.name: p.message for p in patches}
    wide = [f"{name}: {line}" for name, text in texts.items()
            for line in text.splitlines()
            if len(line.expandtabs()) > WIDTH and not line.startswith("Fixes: ")]
    if wide:
        raise SeriesError(f"more than {WIDTH} columns:\n" + "\n".join(wide))


def command_assemble(args):
    """bring a copy of the kernel to the patched state"""
    patches = read_series()
    if args.steps is not None:
        patches = patches[:args.steps]
    if args.also:
        patches.append(parse_patch(args.also.read_text(), args.also.name))
    for path in assemble(patches, args.pristine, args.dest, args.manifest):
        print(path)


def command_test(args):
    """does the series apply, without fuzz?"""
    patches = read_series()
    with tempfile.TemporaryDirectory() as temp:
        fetch_pristine(patches, args.pristine, pathlib.Path(temp))
        for patch in patches:
            apply_step(patch, pathlib.Path(temp))


def command_list(args):
    """kernel paths that the series changes (M) or adds (A), or its patches"""
    patches = read_series()
    if args.patches:
        for patch in patches:
            print(patch.name)
        return
    added = {t for p in patches for t in p.overlay}
    for path in sorted(added | {f for p in patches for f in p.files}):
        print("A" if path in added else "M", path)


def command_export(args):
    """write the mailable patches, or those of a topic with their cover letter"""
    for path in export(read_series(), args.pristine, args.out, args.topic,
                       args.sender, args.url):
        print(path)


def command_export_mainline(args):
    """write the mails of series/mainline"""
    for path in export_mainline(args.out, args.sender):
        print(path)


def command_tree(args):
    """make or update the development tree"""
    make_tree(read_series(), args.pristine, args.tree, args.base)


def command_clean_tree(args):
    """fail when the development tree has work that is not in the series"""
    if not tree_is_clean(args.tree):
        sys.exit(1)


def command_refresh(args):
    """take the development tree's commits back"""
    if not (args.tree / ".git").exists():
        raise SeriesError(f"{args.tree} is not there: make tree")
    refresh(read_series(), args.tree)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, func, *paths):
        sub = commands.add_parser(name, help=func.__doc__)
        sub.set_defaults(func=func)
        for path in paths:
            sub.add_argument(path, type=pathlib.Path)
        return sub

    command("check", command_check)
    sub = command("assemble", command_assemble, "pristine", "dest", "manifest")
    sub.add_argument("--steps", type=int, help="only the first patches")
    sub.add_argument("--also", type=pathlib.Path,
                     help="a patch on top that is not in the series")
    command("test", command_test, "pristine")
    command("list", command_list).add_argument("--patches", action="store_true")
    sub = command("export", command_export, "pristine", "out")
    sub.add_argument("--topic", help="a folder of series/")
    sub.add_argument("--from", dest="sender", help="Name <mail>, who signs off")
    sub.add_argument("--url", help="where readers of the cover find this repository")
    command("export-mainline", command_export_mainline, "out") \
        .add_argument("--from", dest="sender", help="Name <mail>, who signs off")
    command("tree", command_tree, "pristine", "tree") \
        .add_argument("base", help="what the kernel's commit is called")
    command("clean-tree", command_clean_tree, "tree")
    command("refresh", command_refresh, "tree")
    args = parser.parse_args()
    try:
        args.func(args)
    except SeriesError as error:
        print(f"lab: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
