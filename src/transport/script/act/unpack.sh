# Archives. First the list is judged, then all of it goes into a directory only we can enter, is looked at once more,
# and only then renamed into its place. What is there at any instant is the old tree, nothing, or all of the new one.
# unpack PATH OWNER GROUP STRIP BYTES ENTRIES RATIO OCCUPIED MARKER FUNCTION ARGUMENT...: FUNCTION fills $f with the archive.
unpack() {
  path=$1 owner=$2 group=$3 strip=$4 most=$5 entries=$6 ratio=$7 occupied=$8 marker=$9
  shift 9
  enter make "${path%/*}" || return
  name=./${path##*/} new=./.armilla-new-${path##*/} old=./.armilla-old-${path##*/}
  vacant || return
  # What a crash left.
  rm -rf -- "$new" "$old" && mkdir -- "$new" || return
  exec 8<.
  (unpacked "$@") && arrive
  code=$?
  rm -rf -- "$new" "$old"
  return "$code"
}
# vacant: nothing is in the place, or what may be replaced.
vacant() {
  [ -e "$name" ] || [ -L "$name" ] || return 0
  if ! is_unpacked "$name"; then refuse "$path is there, and armilla did not unpack it: move it away first"; return; fi
  [ "$occupied" = replace ] || refuse "$path already exists"
}
arrive() {
  if [ -e "$name" ]; then mv -T -- "$name" "$old" || return; fi
  mv -T -- "$new/tree" "$name" && { sync . 2>/dev/null || sync; } && return
  [ ! -d "$old" ] || mv -T -- "$old" "$name"
  return 1
}
# unpacked FUNCTION ARGUMENT...: makes ./tree in the new directory.
unpacked() {
  cd -P -- "$new" || return
  [ .. -ef /proc/self/fd/8 ] || { refuse "$path: another process works in its directory"; return; }
  exec 7>./archive
  f=/proc/self/fd/7
  "$@" || return
  form || return
  { listing; printf %s "$?" >./ended; } 2>./complaint | head -n "$((entries + 1))" >./list
  # What a list that ends early has in it tells more than that it ends early.
  if [ -s ./list ]; then judge <./list || return; fi
  [ "$(cat ./ended)" = 0 ] || { refuse "$path: the archive cannot be read: $(head -c 2000 ./complaint)"; return; }
  [ -s ./list ] || { refuse 'the archive is refused: there is nothing in it'; return; }
  (umask 022 && mkdir ./tree && spread 2>./complaint) ||
    { refuse "$path: the archive cannot be unpacked: $(head -c 2000 ./complaint)"; return; }
  rm -f ./archive
  inspect || return
  chmod -R u+rwX,go-w,a-s,-t ./tree || return
  bare || return
  chown -R -h -- "$owner:$group" ./tree && chmod 0755 ./tree || return
  "$marker" >./tree/.armilla-archive && chmod 0644 ./tree/.armilla-archive || return
  sync -f ./tree 2>/dev/null || sync
}
# form: what packed it, by its first bytes; names can say anything.
form() {
  if ! has awk || ! has od; then refuse 'this host has no awk or no od: add the packages mawk and coreutils'; return; fi
  packed=$(stat -c %s ./archive)
  case $(head -c 6 ./archive | od -An -tx1 | tr -d ' \n') in
    1f8b*) form=gzip add=gzip ;;
    fd377a585a00) form=xz add='xz-utils (xz on other systems than Debian)' ;;
    28b52ffd*) form=zstd add=zstd ;;
    425a68*) form=bzip2 add=bzip2 ;;
    504b0304*|504b0506*) form=unzip add=unzip ;;
    *) form=cat add=coreutils ;;
  esac
  if ! has "$form"; then refuse "it takes $form to unpack it, and this host has none: add the package $add"; return; fi
  [ "$form" != unzip ] || { zip; return; }
  if ! has tar; then refuse 'this host has no tar: add its package'; return; fi
  case $(tar --version 2>&1) in
    *'GNU tar'*) style=gnu ;;
    *[Bb]usy[Bb]ox*) style=busybox ;;
    *) refuse 'only GNU tar and that of busybox are known, and this host has another: add the package tar' ;;
  esac
}
zip() {
  style=zip
  o=$(LC_ALL=C.UTF-8 unzip -Z -h ./archive 2>&1) && return
  case $o in
    Archive:*) refuse "$path: the archive cannot be read: $(printf %.2000s "$o")" ;;
    *) refuse 'the unzip of this host cannot list archives: add the package unzip' ;;
  esac
}
# plain: the archive without its packing, and not more of it than there may be.
plain() {
  if [ "$form" = cat ]; then cat ./archive; else "$form" -dc <./archive; fi | head -c "$((most + entries * 2048 + 1048576))"
}
listing() {
  case $style in
    gnu) plain | tar -t -v -f - --numeric-owner --quoting-style=escape ;;
    busybox) plain | tar -t -v -f - --numeric-owner ;;
    zip) LC_ALL=C.UTF-8 unzip -Z -s ./archive >./long && sed -e 1,2d -e '$d' ./long ;;
  esac
}
spread() {
  case $style in
    gnu) plain | tar -x -k -f - -C ./tree --no-same-owner --no-same-permissions ;;
    busybox) plain | tar -x -k -f - -C ./tree -o --no-same-permissions ;;
    zip) ulimit -f "$((most / 512 + 1))" && LC_ALL=C.UTF-8 unzip -q -n ./archive -d ./tree >&2 ;;
  esac
}
# inspect: what a list cannot tell, or told wrongly.
inspect() {
  o=$(find ./tree ! -type f ! -type d ! -type l | head -n 1)
  [ -z "$o" ] || { refuse "the archive is refused: it has a device, pipe or socket in it"; return; }
  o=$(find ./tree -name '*[[:cntrl:]]*' | head -n 1)
  [ -z "$o" ] || { refuse 'the archive is refused: a name in it has control characters'; return; }
  [ "$style" = zip ] || return 0
  o=$(find ./tree -type l | head -n 1)
  [ -z "$o" ] || refuse 'the archive is refused: links in a zip are not known before it is unpacked; use a tar'
}
# bare: takes $strip directories off the front.
bare() {
  while [ "$strip" -gt 0 ]; do
    mkdir ./next && find ./tree -mindepth 2 -maxdepth 2 -exec mv -- {} ./next/ ';' || return
    o=$(find ./tree -mindepth 2 -maxdepth 2 | head -n 1)
    [ -z "$o" ] || { refuse "the archive is refused: two directories in it become one when stripped"; return; }
    rm -rf ./tree && mv -T ./next ./tree || return
    strip=$((strip - 1))
  done
}
# judge: reads the list. Everything in it must be a file, directory or link whose name and target stay inside.
judge() {
  awk -v style="$style" -v strip="$strip" -v most="$most" -v entries="$entries" -v ratio="$ratio" -v packed="$packed" '
    function bad(why) { print "the archive is refused: " why; wrong = 1; exit 1 }
    function directory(at) { return (at in sort) && sort[at] == "d" }
    # fields COUNT: takes them off the front of the line; one blank is before the name, which may begin with more.
    function fields(count,  rest) {
      rest = $0
      while (count-- > 0) { sub(/^ */, "", rest); sub(/^[^ ]+/, "", rest) }
      return substr(rest, 2)
    }
    function read_zip() {
      if ($0 !~ /^[-dl?][^ ]+ +[0-9.]+ +[^ ]+ +[0-9]+ +[^ ]+ +[^ ]+ +[^ ]+ +[^ ]+ [^ ]/) bad("its list is not understood")
      type = substr($1, 1, 1); size = $4; name = fields(8)
      if (type == "?") type = "-"
      if (type == "l") bad("links in a zip are not known before it is unpacked; use a tar")
      # This is how it lists control characters.
      if (name ~ /\^/) bad("a name in it has control characters or a caret")
    }
    function read_tar(  mark, place) {
      type = substr($1, 1, 1)
      if (type !~ /[-dlh]/) bad("it has a device, pipe or something else of the kind " type " in it")
      if ($2 !~ /^[^ \/]+\/[^ \/]+$/ || $3 !~ /^[0-9]+$/ || $4 !~ /^[0-9]+-[0-9]+-[0-9]+$/ || $5 !~ /^[0-9:.]+$/)
        bad("its list is not understood")
      size = $3; name = fields(5); target = ""
      mark = type == "h" ? " link to " : " -> "
      place = index(name, mark)
      if (type == "-" && style == "busybox" && place) type = "h"
      if (type !~ /[lh]/) return
      if (!place) bad("its list is not understood")
      target = substr(name, place + length(mark)); name = substr(name, 1, place - 1)
      if (index(target, mark)) bad("a link in it has an arrow in its name")
    }
    function tidy(text) { while (sub(/^\.\//, "", text)) sub(/^\/+/, "", text); return text }
    function judge_name() {
      if (name ~ /^\//) bad("the name " name " is absolute")
      name = tidy(name)
      if (sub(/\/+$/, "", name) && type == "-") type = "d"
      if (name == "" || name == ".") return type == "d" ? 0 : bad("it has something without a name in it")
      if (name ~ /(^|\/)\.\.(\/|$)/) bad("the name " name " leads out of it")
      if (name ~ /(^|\/)\.(\/|$)/ || name ~ /\/\//) bad("the name " name " is not written as names are")
      if ((name in sort) && !(type == "d" && sort[name] == "d")) bad("the name " name " is in it twice")
      sort[name] = type
      return 1
    }
    # What becomes of the name when directories are taken off its front; nothing if all of it goes.
    function stripped(  part, count, at, text) {
      count = split(name, part, "/")
      for (at = strip + 1; at <= count; at++) text = text (text == "" ? "" : "/") part[at]
      depth = count - strip - 1
      return text
    }
    # Up first and then down: with a way up after a name, which may be a link, nobody knows where it ends.
    function judge_link(  part, count, at, up, down) {
      if (target ~ /^\// || target == "") bad("the link " name " leads out of it, to " target)
      count = split(target, part, "/")
      for (at = 1; at <= count; at++) {
        if (part[at] == "" || part[at] == ".") continue
        if (part[at] != "..") { down = 1; continue }
        if (down) bad("the link " name " goes up after it went down, to " target)
        up++
      }
      if (up > depth) bad("the link " name " leads out of it, to " target)
    }
    {
      plain = $0
      # GNU tar writes all bytes but those of ASCII as three digits.
      if (style == "gnu") gsub(/\\[23][0-7][0-7]/, "", plain)
      if (plain ~ /[\001-\037\177]/ || plain ~ /\\/) bad("a name in it has control characters or a backslash")
      if (style == "zip") read_zip(); else read_tar()
      if (++count > entries) bad("it has more than " entries " entries: if that is right, raise `max_entries`")
      total += size
      if (total > most) bad("it unpacks to more than " most " bytes: if that is right, raise `max_unpacked`")
      if (!judge_name()) next
      if (type == "h" && sort[tidy(target)] !~ /[-h]/) bad("the hard link " name " leads out of it, to " target)
      place = stripped()
      if (place == "") next
      if (place == ".armilla-archive") bad("it has a file .armilla-archive of its own")
      if ((place in from) && from[place] != name) bad("two names in it become " place " when stripped")
      from[place] = name
      if (type == "l") judge_link()
      kept++
    }
    END {
      if (wrong) exit 1
      if (!kept) bad("there is nothing in it" (strip ? " below " strip " directories: look at `strip`" : ""))
      if (total > 16777216 && total > ratio * packed)
        bad("it unpacks to more than " ratio " times its size: if that is right, raise `max_ratio`")
      for (name in sort) {
        count = split(name, part, "/"); above = ""
        for (at = 1; at < count; at++) {
          above = above (at > 1 ? "/" : "") part[at]
          if ((above in sort) && sort[above] != "d") bad("the name " name " is below " above ", which is no directory")
        }
      }
    }'
}
# uproot PATH: removes what was unpacked there. Nothing there is success.
uproot() {
  d=${1%/*}
  [ -e "${d:-/}" ] || return 0
  enter no "$d" || return
  name=./${1##*/} old=./.armilla-old-${1##*/}
  [ -e "$name" ] || [ -L "$name" ] || return 0
  if ! is_unpacked "$name"; then refuse "$1 was not unpacked by armilla: it is not removed"; return; fi
  rm -rf -- "$old" && mv -T -- "$name" "$old" && rm -rf -- "$old"
}
