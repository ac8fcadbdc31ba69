printf 'user %s\n' "$(id -un)"
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null; then
    if words=$(sudo -n true 2>&1); then echo 'sudo yes'; else printf 'sudo no %s\n' "${words%%
*}"; fi
  else echo 'sudo none'
  fi
fi
for tool do
  if command -v "$tool" >/dev/null; then printf 'has %s\n' "$tool"; fi
done
for place in / /var/tmp; do
  df -P -k "$place" 2>/dev/null | while read -r _ _ _ free _ _; do printf 'free %s %s\n' "$place" "$free"; done
done
for place in /run /var/tmp; do
  if [ -w "$place" ]; then printf 'writes %s\n' "$place"; fi
done
printf 'clock %s\n' "$(date +%s)"
