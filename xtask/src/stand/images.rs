//! Images by id. Names move; an id is the image.

use super::Stand;
use crate::error::{Fault, Lane, Result};
use std::collections::BTreeMap;

impl Stand {
    /// The id behind a name or an id; none when there is no such image here.
    pub fn image_id(&self, name: &str) -> Result<Option<String>> {
        let call = self.docker(["image", "inspect", "--format", "{{.Id}}", name]);
        let finished = self.exec.run(&call)?;
        if finished.ok() {
            let id = finished.text().trim().to_string();
            return if is_id(&id) { Ok(Some(id)) } else { Err(no_id(&format!("inspect image {name}"), &id)) };
        }
        if finished.stderr.contains("No such image") {
            return Ok(None);
        }
        Err(finished.fault(&format!("inspect image {name}"), Lane::A).into())
    }

    /// Every image of the engine: `repository:tag` to full id.
    pub fn image_tags(&self) -> Result<BTreeMap<String, String>> {
        let call = self.docker(["image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
        let text = self.exec.run(&call)?.success("list images", Lane::A)?.text();
        text.lines()
            .map(|l| match l.split_once(' ') {
                Some((name, id)) if is_id(id.trim()) => Ok((name.into(), id.trim().into())),
                _ => Err(no_id("list images", l)),
            })
            .collect()
    }

    /// Points a name at an image.
    pub fn tag(&self, id: &str, name: &str) -> Result<()> {
        self.exec.run(&self.docker(["tag", id, name]))?.success(&format!("tag {name}"), Lane::A)?;
        Ok(())
    }

    /// Names the images of a release that passed, and looks whether they have their names: an image without
    /// one is anybody's to clean away.
    pub fn name_for_release(&self, images: &[(String, String)], rid: &str) -> Result<()> {
        let name = |service: &String| release_tag(&self.project, service, rid);
        for (service, image) in images {
            self.tag(image, &name(service))?;
        }
        let tags = self.image_tags()?;
        for (service, image) in images {
            let (name, found) = (name(service), tags.get(&name(service)));
            if found != Some(image) {
                let found = found.map_or("no image", String::as_str);
                let fault = Fault::new(format!("docker tag ended well, and {name} names {found}"));
                return Err(fault.lane(Lane::A).into());
            }
        }
        Ok(())
    }

    /// Removes a name; the image stays while anything else names or uses it.
    pub fn untag(&self, name: &str) -> Result<()> {
        let finished = self.exec.run(&self.docker(["image", "rm", "--no-prune", name]))?;
        if finished.ok() || finished.stderr.contains("No such image") {
            return Ok(());
        }
        Err(finished.fault(&format!("remove the tag {name}"), Lane::A).into())
    }
}

fn is_id(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn no_id(what: &str, said: &str) -> anyhow::Error {
    Fault::new(format!("{what}: docker ended well and named no image id"))
        .why(format!("it said `{}`", said.chars().take(80).collect::<String>().escape_debug()))
        .lane(Lane::A)
        .into()
}

/// The tag under which a previous image is kept: `<project>-<service>:ff-prev-<id>`.
pub fn kept_tag(project: &str, service: &str, id: &str) -> String {
    format!("{project}-{service}:ff-prev-{id}")
}

/// The name under which the image of a release is kept, for going back to it later.
pub fn release_tag(project: &str, service: &str, rid: &str) -> String {
    format!("{project}-{service}:ff-lkg-{rid}")
}

/// Is this a tag that [`kept_tag`] made for the project?
pub fn is_kept_tag(project: &str, name: &str) -> bool {
    name.strip_prefix(project)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.split_once(':'))
        .is_some_and(|(_, tag)| tag.starts_with("ff-prev-"))
}
